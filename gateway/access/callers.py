"""Who a request comes from, and which jobs are its own.

A call that names no job (an interrupt, a clear) reaches the caller's own. With a token these are its owner's. Without
tokens there is one owner, and they are those of the browser session that a cookie tells, or of the ``clientId`` in the
query; with neither, everyone's, as in ComfyUI.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass

from aiohttp import hdrs, web

from gateway.access.errors import NotAuthenticated, ScopeMissing
from gateway.access.token import ADMIN, ALL_SCOPES, Token, with_implied
from gateway.jobs.job import Job
from gateway.runners.pool import Pool
from gateway.runners.runner import Runner

BROWSER_COOKIE = "comfy_gateway_browser"
BROWSERS_MOST = 10_000
CLIENTS_PER_BROWSER_MOST = 1_000
ANYONE = ""  # the one owner while there are no tokens


@dataclass(frozen=True, slots=True)
class Identity:
    """Who authentication found: an owner, what it may do, and by which token. ``login`` is the digest of the browser's
    session, where one stood for the token."""

    owner: str
    scopes: frozenset[str]
    token: Token | None = None
    login: str | None = None

    @classmethod
    def of(cls, token: Token, login: str | None = None) -> Identity:
        """Whoever presents this token."""
        return cls(token.owner, with_implied(token.scopes), token, login)


ANONYMOUS = Identity(ANYONE, ALL_SCOPES)  # everyone, while no tokens are asked for
NOBODY = Identity(ANYONE, frozenset())  # without a token, where one is asked for: what is open to all
IDENTITY = web.RequestKey("identity", Identity)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        owner: whose token; "" while no tokens are asked for.
        client_ids: the clients that are certainly the caller's, None where nothing tells.
        scopes: of ``run``, ``manage``, ``admin``; all while no tokens are asked for.
        token: None while no tokens are asked for.
        login: the digest of the browser's session, where it came with one.
    """

    owner: str
    client_ids: frozenset[str] | None
    scopes: frozenset[str] = ALL_SCOPES
    token: Token | None = None
    login: str | None = None

    @property
    def is_admin(self) -> bool:
        """Whether the caller reaches everyone's."""
        return ADMIN in self.scopes

    @property
    def within(self) -> str | None:
        """The owner whose jobs lists and ids lead to; None: everyone's, for an admin."""
        return None if self.is_admin else self.owner

    def sees(self, owner: str) -> bool:
        """True for what is the caller's own, and for everything to an admin. What is not seen is 404, never 403."""
        return owner == self.owner or self.is_admin

    def reaches(self, job: Job) -> bool:
        """True when a call without an id reaches this job: never another owner's, not even for an admin."""
        if job.owner != self.owner:
            return False
        return self.token is not None or self.client_ids is None or job.client_id in self.client_ids


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
        who = request[IDENTITY]
        return Caller(who.owner, self._client_ids(request), who.scopes, who.token, who.login)

    def _client_ids(self, request: web.Request) -> frozenset[str] | None:
        clients = self._clients.get(request.cookies.get(BROWSER_COOKIE, ""))
        if clients:
            return frozenset(clients)
        client_id = request.query.get("clientId")
        return frozenset({client_id}) if client_id else None

    def runner(self, request: web.Request, pool: Pool, scope: str = "", *, binds: bool = True) -> Runner | None:
        """The runner that the browser is bound to: the primary of the time when one was first needed.

        It stays bound when another runner becomes the primary, since custom nodes keep state on theirs, and moves only
        when something is asked while its runner is down; ``binds`` is False for a mere look. Without a cookie: the
        primary. None: no runner is up. Each ``scope``, a part of the pool, has a binding of its own.
        """
        browser = request.cookies.get(BROWSER_COOKIE)
        if not browser:
            return pool.primary
        browser = f"{browser} {scope}"
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


def require(request: web.Request, scope: str) -> Caller:
    """The caller, who must have this scope. Raises ScopeMissing, or NotAuthenticated for who has not said who it is;
    they become 403 and 401 in the words of the API that was called."""
    caller = caller_of(request)
    if caller.token is None and not caller.scopes:
        raise NotAuthenticated("A token is needed", missing=True)
    if scope not in caller.scopes:
        raise ScopeMissing(scope)
    return caller
