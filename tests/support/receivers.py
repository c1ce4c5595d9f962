"""A receiver of webhooks: it verifies every message as the library does, refuses some by a seed, keeps what it took."""

from __future__ import annotations

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

ALLOWED = {"endpoints": {"webhook": {"allow": ["loopback"]}}}
FAST = {"first_retry_seconds": 0.05, "longest_retry_seconds": 0.4, "timeout_seconds": 5, "progress_seconds": 0.1}
ENDS = frozenset({"job.completed", "job.failed", "job.cancelled"})


class Receiver:
    """``taken`` has the messages in the order in which they were answered with 200; ``tries`` counts all requests
    with a good signature, ``forged`` the others."""

    def __init__(self, *, fails: float = 0.0, seed: int = 0) -> None:
        self.url = ""
        self.secret: str | None = None
        self.taken: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.tries = 0
        self.forged = 0
        self.answers: Callable[[dict[str, Any]], int] = lambda _message: 200
        self.hold: asyncio.Event | None = None
        self._fails = fails
        self._chance = random.Random(seed)
        self._changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            message = Webhook(self.secret).verify(body, dict(request.headers)) if self.secret else json.loads(body)
        except WebhookVerificationError:
            self.forged += 1
            await self._tell()
            return web.Response(status=401)
        self.tries += 1
        if self.hold is not None:
            await self.hold.wait()
        status = 503 if self._chance.random() < self._fails else self.answers(message)
        if status == 200:
            self.taken.append(message)
            self.ids.append(request.headers["webhook-id"])
        await self._tell()
        return web.Response(status=status)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool], seconds: float = 60.0) -> None:
        """Returns once it holds; looked at with every request."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    def of(self, job_id: str) -> list[str]:
        """The types of what was taken of a job, in order, without progress."""
        return [
            each["type"].removeprefix("job.")
            for each in self.taken
            if each["data"]["job_id"] == job_id and each["type"] != "job.progress"
        ]

    def by_job(self) -> dict[str, list[str]]:
        """The same of every job, each message once: one that was taken just before a crash may come again, under the id
        that it had."""
        told: dict[str, list[str]] = defaultdict(list)
        known: set[str] = set()
        for message_id, each in zip(self.ids, self.taken, strict=True):
            kind = each["type"].removeprefix("job.")
            if kind != "progress" and message_id not in known:
                told[each["data"]["job_id"]].append(kind)
            known.add(message_id)
        return told

    def ended(self) -> int:
        """How many jobs it knows to have ended."""
        return len({each["data"]["job_id"] for each in self.taken if each["type"] in ENDS})


@asynccontextmanager
async def receiving(*, port: int = 0, **settings: Any) -> AsyncIterator[Receiver]:
    """A receiver on a port of its own."""
    receiver = Receiver(**settings)
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        await runner.cleanup()
