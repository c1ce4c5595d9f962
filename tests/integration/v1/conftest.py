"""A gateway over simulated runners, and how its /v1 is called."""

import json
from contextlib import asynccontextmanager

import aiohttp
import pytest
from support.client import Client
from support.pools import running_pool
from support.v1 import CONTRACT, v1_pool

from gateway.simulator import Simulator, SimulatorOptions

UNLIMITED = {"requests": None}


class Api:
    """Calls /v1 of one gateway, and expects a status; every answer is held against the document."""

    def __init__(self, base, http, token=None):
        self.base = base
        self.http = http
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def call(self, method, path, status=200, *, body=None, headers=(), **more):
        headers = {**self.headers, **dict(headers)}
        async with self.http.request(method, self.base + path, json=body, headers=headers, **more) as answer:
            text = await answer.text()
            assert answer.status == status, (answer.status, text)
            self.last = answer
            if CONTRACT.operation(method, path.partition("?")[0]) is not None:
                CONTRACT.check(method, path.partition("?")[0], status, answer.content_type, await answer.read())
            told = json.loads(text) if text else None
        if status >= 400:
            assert told.keys() == {"status", "message"}
            assert told["status"] == status
            return told["message"]
        return told

    async def get(self, path, expected=200, /, **params):
        return await self.call("GET", path, expected, params=params)

    async def post(self, path, body=None, status=200, **more):
        return await self.call("POST", path, status, body=body, **more)

    async def put(self, path, body=None, status=200):
        return await self.call("PUT", path, status, body=body)

    async def delete(self, path, status=200, **params):
        return await self.call("DELETE", path, status, params=params)


@asynccontextmanager
async def gateway_api(folder, count=1, *, config=None, v1=None):
    """A gateway without a rate limit, and its API; ``api.pool`` is what runs."""
    sections = {"v1": {**UNLIMITED, **(v1 or {})}, **(config or {})}
    async with running_pool(folder, count, config=sections) as pool, aiohttp.ClientSession() as http:
        api = Api(pool.base, http)
        api.pool = pool
        yield api


@pytest.fixture
async def api(tmp_path):
    async with gateway_api(tmp_path) as api:
        yield api


@pytest.fixture
async def spare():
    """A runner that no gateway knows yet."""
    async with Simulator(SimulatorOptions(name="spare", draw=False)) as simulator:
        yield simulator


@pytest.fixture
async def pool(tmp_path):
    async with v1_pool(tmp_path, 1) as pool:
        yield pool


@pytest.fixture
async def client(pool):
    async with Client.connected(pool.base) as client:
        yield client
