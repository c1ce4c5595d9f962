"""Who a request comes from, and which jobs are its own.

Without tokens there is one owner. A call that names no job (an interrupt, a clear) reaches the caller's own: those of
the browser session that a cookie tells, or of the ``clientId`` in the query; with neither, everyone's, as in ComfyUI.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import hdrs, web

from gateway.jobs.job import Job
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner

BROWSER_COOKIE = "comfy_gateway_browser"
BROWSERS_MOST = 10_000
CLIENTS_PER_BROWSER_MOST = 1_000
ANYONE = ""  # the one owner while there are no tokens


@dataclass(frozen=True, slots=True)
class Caller:
    """``owner``: whose token; ``client_ids``: the clients that are certainly the caller's, None where nothing tells."""

    owner: str
    client_ids: frozenset[str] | None

    def reaches(self, job: Job) -> bool:
        """True when a call without an id reaches this job."""
        return job.owner == self.owner and (self.client_ids is None or job.client_id in self.client_ids)


class Browsers:
    """Which websocket clients each browser has opened, and which runner answers it what only a runner can, by the
    cookie that it got with the frontend's page."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._runners: OrderedDict[str, str] = OrderedDict()

    def opened(self, request: web.Request, sid: str) -> None:
        """A websocket of this browser stands."""
        browser = request.cookies.get(BROWSER_COOKIE)
        if not browser:
            return
        clients = self._clients.setdefault(browser, OrderedDict())
        self._clients.move_to_end(browser)
        clients[sid] = None
        while len(clients) > CLIENTS_PER_BROWSER_MOST:
            clients.popitem(last=False)
        while len(self._clients) > BROWSERS_MOST:
            self._clients.popitem(last=False)

    def caller(self, request: web.Request) -> Caller:
        """Who sent this request."""
        clients = self._clients.get(request.cookies.get(BROWSER_COOKIE, ""))
        if clients:
            return Caller(ANYONE, frozenset(clients))
        client_id = request.query.get("clientId")
        return Caller(ANYONE, frozenset({client_id}) if client_id else None)

    def runner(self, request: web.Request, pool: Pool, *, binds: bool = True) -> Runner | None:
        """The runner that the browser is bound to: the primary of the time when one was first needed.

        It stays bound when another runner becomes the primary, since custom nodes keep state on theirs, and moves only
        when something is asked while its runner is down; ``binds`` is False for a mere look. Without a cookie: the
        primary. None: no runner is up.
        """
        browser = request.cookies.get(BROWSER_COOKIE)
        if not browser:
            return pool.primary
        runner = pool.get(self._runners.get(browser, ""))
        if runner is None or not runner.is_ready:
            runner = pool.primary
            if runner is None or not binds:
                return runner
            self._runners[browser] = runner.name
        if binds:
            self._runners.move_to_end(browser)
        while len(self._runners) > BROWSERS_MOST:
            self._runners.popitem(last=False)
        return runner

    @staticmethod
    def greet(request: web.Request, answer: web.StreamResponse) -> None:
        """Gives a browser that loads the frontend's page its cookie."""
        if BROWSER_COOKIE not in request.cookies:
            answer.set_cookie(BROWSER_COOKIE, uuid.uuid4().hex, httponly=True, samesite="Lax", path="/")

    @staticmethod
    def greeting(request: web.Request) -> dict[str, str]:
        """The same as a header, for an answer that is relayed."""
        answer = web.Response()
        Browsers.greet(request, answer)
        given = answer.cookies.get(BROWSER_COOKIE)
        return {hdrs.SET_COOKIE: given.OutputString()} if given is not None else {}


BROWSERS = web.AppKey("browsers", Browsers)


def caller_of(request: web.Request) -> Caller:
    """Who sent this request."""
    return request.app[BROWSERS].caller(request)
