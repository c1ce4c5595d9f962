"""The matrix of access: what each route answers to each kind of caller, and the gateway that is asked.

Of alice's things the routes' paths name: ``{ended}``, ``{running}`` and ``{waiting}`` jobs, ``{picture}``, ``{file}``,
``{workflow}`` and ``{template}``; of the operator's ``{token}``; and ``{nobody}`` is an id that nothing has.
`World.restore` makes them anew after a route has changed them.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import select

from gateway.access.token import Token
from gateway.jobs.states import JobState
from gateway.storage.schema import templates, workflows
from support.graphs import save_graph
from support.owners import guarded_pool, token_of
from support.pools import RunningPool
from support.v1 import form_of, workflow_fields

MARK = "alices_mark"  # in the text of all that is alice's
NONE, WRONG, EXPIRED, OTHER, OWN, ADMIN = "none", "wrong", "expired", "other", "own", "admin"
CALLERS = (NONE, WRONG, EXPIRED, OTHER, OWN, ADMIN)  # in the order in which they ask
TAKEN = (OTHER, OWN, ADMIN)
TWINS_CALLERS = (NONE, EXPIRED, OTHER)  # the same handler under another path: nothing that changes alice's things
MINE = (OWN,)
BOTH = (OWN, ADMIN)
CONFIG: dict[str, Any] = {
    "frontend": {"source": "none"},
    "v1": {"requests": None},
    "access": {"mode": "tokens", "login_attempts_per_minute": 10_000},
}

Body = Callable[[], Any]


@dataclass(frozen=True)
class Row:
    """What one route answers. ``shows``: who has to read of alice's things in it; nobody else may but an admin. A body
    is JSON, or made by a function that makes a form. ``method``: for a route that takes any."""

    path: str
    own: int = 200
    other: int = 200
    admin: int = 200
    refused: int = 401
    body: Any = None
    shows: tuple[str, ...] = ()
    method: str | None = None
    is_socket: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    def expected(self, caller: str) -> int:
        """The status for this caller."""
        return {OTHER: self.other, OWN: self.own, ADMIN: self.admin}.get(caller, self.refused)


def picture_form() -> Any:
    """An upload."""
    return form_of({"image": ("new.png", b"\x89PNG")})


def workflow_form() -> Any:
    """A new workflow."""
    return form_of(workflow_fields(save_graph(5), "another"))


def template_form() -> Any:
    """A new template."""
    body = ("template.json", json.dumps(save_graph(6)).encode())
    return form_of({"name": "another", "description": "of nothing", "body": body})


def empty_form() -> Any:
    """A form without fields."""
    return form_of({"tags": ""})


class World:
    """The gateway with alice's things, bob and an admin."""

    def __init__(self, pool: RunningPool, http: aiohttp.ClientSession) -> None:
        self.pool = pool
        self.names: dict[str, str] = {"nobody": "00000000-0000-4000-8000-000000000000", "runner_id": ""}
        self._http = http
        self._secrets: dict[str, str] = {}
        self._before: Any = None
        self._seeds = count(100)

    async def fill(self) -> None:
        """Makes the tokens and alice's things."""
        tokens = self.pool.rooms.access.tokens
        gone = Token("", "gone", "alice", frozenset({"run"}), 0, expires_at=1)
        self._secrets = {
            WRONG: "cgw_" + "w" * 43,
            EXPIRED: (await tokens.create(gone))[1],
            OTHER: await token_of(self.pool, "bob"),
            OWN: await token_of(self.pool, "alice"),
            ADMIN: await token_of(self.pool, "root", ("admin",)),
        }
        await self.restore()

    def headers(self, caller: str) -> dict[str, str]:
        """What a caller presents."""
        secret = self._secrets.get(caller)
        return {} if secret is None else {"Authorization": f"Bearer {secret}"}

    async def ask(self, method: str, row: Row, caller: str, prefix: str = "") -> tuple[int, str]:
        """One request; the status and the text of the answer."""
        url = self.pool.base + prefix + row.path.format(**self.names)
        headers = {**row.headers, **self.headers(caller)}
        if row.is_socket:
            return await self._open_socket(url, headers)
        body = {"data": row.body()} if callable(row.body) else {"json": self._named(row.body)}
        if row.body is None:
            body = {}
        async with self._http.request(method, url, headers=headers, allow_redirects=False, **body) as answer:
            content = await answer.read()
            return answer.status, content.decode("latin-1")

    def _named(self, body: Any) -> Any:
        """The body with the names in its texts, but for those of graphs, which are no names."""
        if isinstance(body, dict):
            return {key: self._named(value) for key, value in body.items()}
        if isinstance(body, list):
            return [self._named(value) for value in body]
        return self.names.get(body[1:-1], body) if isinstance(body, str) and body.startswith("{") else body

    async def _open_socket(self, url: str, headers: dict[str, str]) -> tuple[int, str]:
        try:
            async with self._http.ws_connect(url, headers=headers) as socket:
                return 101, str((await socket.receive(timeout=10)).data)
        except aiohttp.WSServerHandshakeError as error:
            return error.status, ""

    # alice's things

    async def snapshot(self) -> Any:
        """All that a stranger must not change."""
        kept_rows = [
            [tuple(row) for row in await self.pool.rooms.db.read(select(table.c.id).where(table.c.owner == "alice"))]
            for table in (workflows, templates)
        ]
        jobs = sorted((row["id"], row["status"]) for row in self.pool.rooms.jobs.rows("alice"))
        tokens = [(token.id, token.revoked, token.name, token.expires_at) for token in self._tokens()]
        runners = [(runner.name, runner.config) for runner in self.pool.rooms.pool]
        kept = self.pool.config.data_dir / "userdata"
        files = sorted((str(path), path.read_bytes()) for path in kept.rglob("*") if MARK in str(path))
        return jobs, tokens, runners, files, kept_rows

    def _tokens(self) -> list[Token]:
        return self.pool.rooms.access.tokens.all()

    async def restore(self) -> None:
        """Makes what is gone anew, if anything has changed since the last time."""
        if self._before is not None and self._before == await self.snapshot():
            return
        simulator = self.pool.simulators[0]
        simulator.resume()
        await self.pool.until(lambda: not self.pool.rooms.jobs.live(None, *LIVE))
        self.names["ended"] = await self._submit()
        await self.pool.until(lambda: not self.pool.rooms.jobs.live(None, *LIVE))
        entry = (await self._json("GET", f"/history/{self.names['ended']}"))[self.names["ended"]]
        self.names["picture"] = entry["outputs"]["3"]["images"][0]["filename"]
        await self._remake_kept_things()
        simulator.pause()
        self.names["running"] = await self._submit()
        await self.pool.until(lambda: self.pool.rooms.jobs.live("alice", JobState.RUNNING))
        self.names["waiting"] = await self._submit()
        self._before = await self.snapshot()

    async def _remake_kept_things(self) -> None:
        self.names["file"] = f"{MARK}.txt"
        await self._json("POST", f"/userdata/{self.names['file']}", data=MARK)
        victim = Token("", "victim", "carol", frozenset({"run"}), 0)
        self.names["token"] = (await self.pool.rooms.access.tokens.create(victim))[0].id
        fields = workflow_fields(save_graph(next(self._seeds), prefix=MARK), MARK)
        self.names["workflow"] = (await self._json("POST", "/v1/workflow", data=form_of(fields)))["id"]
        await self.pool.until(lambda: self.names["workflow"] in self.pool.rooms.jobs.history)
        template = {"name": MARK, "description": MARK, "body": fields["workflow_json"]}
        self.names["template"] = (await self._json("POST", "/v1/template", data=form_of(template)))["id"]

    async def _submit(self) -> str:
        seed = next(self._seeds)  # a graph that has just run would be answered from the runner's cache
        body = {"prompt": save_graph(seed, prefix=MARK), "client_id": "alice"}
        return str((await self._json("POST", "/prompt", json=body))["prompt_id"])

    async def _json(self, method: str, path: str, **more: Any) -> Any:
        async with self._http.request(method, self.pool.base + path, headers=self.headers(OWN), **more) as answer:
            assert answer.status < 300, (method, path, answer.status, await answer.text())
            return await answer.json()


LIVE = (JobState.SUBMITTING, JobState.PENDING, JobState.DISPATCHED, JobState.RUNNING)


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    """A gateway that asks for tokens over one runner, with alice's things in it."""
    async with guarded_pool(folder, 1, config=CONFIG) as pool, aiohttp.ClientSession() as http:
        made = World(pool, http)
        await made.fill()
        yield made
        pool.simulators[0].resume()
