"""Tokens are presented in every way, right ones and wrong ones, in right places and in wrong ones; then no log line,
file of the gateway, answer, metric or request to a runner has any of them.
"""

import asyncio
import base64
import json
from urllib.parse import quote

import aiohttp
import pytest
import structlog
from support import nodes
from support.graphs import save_graph
from support.owners import guarded_pool, token_of

from gateway.access import secrets
from gateway.config import LogConfig
from gateway.logging import configure_logging

CONFIGURED = "cgw_" + "configured" * 4
PARTS = ("params", "headers", "json", "data")
PATHS = ("/queue", "/api/history", "/gateway/api/tokens", "/v1/workflow", "/tn/echo", "/no/such/thing", "/view", "/")


@pytest.fixture
def logged(capsys):
    configure_logging(LogConfig(level="debug", format="json"))
    yield lambda: capsys.readouterr().err
    structlog.reset_defaults()


@pytest.fixture
def sent_to_runners(monkeypatch):
    """All that the gateway sends by HTTP, as text: its clients are told apart by what they say of themselves."""
    sent = []
    request = aiohttp.ClientSession._request

    async def recorded(session, method, url, **more):
        if session.headers.get("X-Is-Test") is None:
            sent.append(" ".join([method, str(url), *(str(more.get(name)) for name in PARTS)]))
        return await request(session, method, url, **more)

    monkeypatch.setattr(aiohttp.ClientSession, "_request", recorded)
    return sent


def ways(token):
    """Headers that present a token."""
    basic = base64.b64encode(f"somebody:{token}".encode()).decode()
    return [
        {"Authorization": f"Bearer {token}"},
        {"X-API-Key": token},
        {"Authorization": f"Basic {basic}"},
        {"Authorization": token},
        {"Cookie": f"comfy_gateway_session={token}"},
        {"comfy-user": token, "Comfy-Usage-Source": "x", "User-Agent": "x", "Referer": f"http://x/?token={token}"},
    ]


class Answers:
    """Asks, and keeps all that was answered."""

    def __init__(self, base, http):
        self.base = base
        self.http = http
        self.told = []

    async def ask(self, method, path, **more):
        async with self.http.request(method, self.base + path, allow_redirects=False, **more) as answer:
            text = (await answer.read()).decode("latin-1")
            self.told.append(f"{answer.status} {dict(answer.headers)} {text}")
            return answer.status, text

    async def listen(self, path, **more):
        try:
            async with self.http.ws_connect(self.base + path, **more) as socket:
                self.told.append(str((await socket.receive(timeout=10)).data))
        except aiohttp.WSServerHandshakeError as error:
            self.told.append(str(error.headers))
            return error.status
        return 101

    async def speak(self, text):
        """What is no proper HTTP. The answer quotes what was sent, to nobody but who has sent it."""
        host, port = self.base.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(text)
        await asyncio.wait_for(reader.read(), 10)
        writer.close()


async def present_everywhere(answers, token, other):
    for headers in ways(token):
        for path in PATHS:
            await answers.ask("GET", path, headers=headers)
            await answers.ask("GET", path, headers={**headers, "Accept": "text/html"})
        await answers.ask("POST", "/prompt", headers=headers, data=token)
        await answers.ask("PATCH", f"/gateway/api/tokens/{other}", headers=headers, json={"name": 1, token: 2})
        await answers.listen("/ws?clientId=x", headers=headers)
        await answers.listen("/tn/chat", headers=headers)
    right = {"Authorization": f"Bearer {token}"}
    for query in (f"token={token}", f"token={quote(token, safe='')}&a=1", f"b=2&Token={token}&token={token}"):
        await answers.listen(f"/ws?clientId=y&{query}")
        await answers.listen(f"/api/ws?clientId=y&{query}")
        await answers.listen(f"/tn/chat?{query}")
        await answers.ask("GET", f"/tn/echo?{query}", headers=right)
        await answers.ask("GET", f"/object_info?{query}", headers=right)
        await answers.ask("GET", f"/models?{query}", headers=right)
        await answers.ask("GET", f"/queue?{query}")
        await answers.ask("GET", f"/queue?{query}", headers={"Accept": "text/html"})
    await answers.speak(f"GET /ws?token={token}&b=\xe9\xff HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1"))
    await answers.speak(f"GET / HTTP/1.1\r\nHost: x\r\nX-API-Key: {token}\r\nBad Header: {token}\r\n\r\n".encode())
    for form in ({"token": token, "next": "/"}, {"token": token[:-1]}, {"token": f"x{token}"}):
        await answers.ask("POST", "/gateway/login", data=form)


async def test_no_token_is_anywhere_but_with_its_owner(tmp_path, logged, sent_to_runners):
    options = [{"extra_routes": nodes.ROUTES}]
    access = {"access": {"mode": "tokens", "admin_token": CONFIGURED, "login_attempts_per_minute": 1_000}}
    headers = {"X-Is-Test": "1"}
    async with guarded_pool(tmp_path, 1, options=options, config=access) as pool:
        alice, expired = await token_of(pool, "alice"), await token_of(pool, "alice")
        admin = await token_of(pool, "root", ("admin",))
        await pool.rooms.access.tokens.revoke(pool.rooms.access.tokens.find(expired).id)
        texts = [alice, expired, admin, CONFIGURED, secrets.new_token()]
        async with aiohttp.ClientSession(headers=headers, cookie_jar=aiohttp.DummyCookieJar()) as http:
            answers = Answers(pool.base, http)
            for text in texts:
                await present_everywhere(answers, text, pool.rooms.access.tokens.find(admin).id)
            await run_a_job(answers, alice, pool)
            texts += await make_more(answers, admin)
            made = answers.told.pop()  # the one answer that shows a token
            assert texts[-1] in made
            status, metrics = await answers.ask("GET", "/gateway/metrics", headers={"X-API-Key": admin})
            assert status == 200
            await answers.ask("GET", "/gateway/api/audit", headers={"X-API-Key": admin})
    log = logged()
    assert "access.login_failed" in log
    assert "token.create" in log
    assert len(sent_to_runners) > 100
    places = {"log": log.splitlines(), "metrics": metrics.splitlines(), "runners": sent_to_runners}
    for text in (*texts, secrets.SESSION_PREFIX):
        for place, lines in places.items():
            assert [line[:300] for line in lines if text in line] == [], place
        for path in tmp_path.rglob("*"):
            if path.is_file():
                assert text.encode() not in path.read_bytes(), path
    for text in texts:
        assert [told[:300] for told in answers.told if text in told] == []
    cookies = [told for told in answers.told if "Set-Cookie" in told and secrets.SESSION_PREFIX in told]
    assert len(cookies) == 3, "the live tokens logged in"


async def run_a_job(answers, token, pool):
    """With the token where a client of Comfy Cloud has its key for API nodes."""
    body = {"prompt": save_graph(1), "extra_data": {"api_key_comfy_org": token}}
    status, text = await answers.ask("POST", "/api/prompt", json=body, headers={"X-API-Key": token})
    assert status == 200, text
    await pool.until(lambda: json.loads(text)["prompt_id"] in pool.rooms.jobs.history)


async def make_more(answers, admin):
    """A token made over HTTP; its secret."""
    status, text = await answers.ask(
        "POST", "/gateway/api/tokens", json={"name": "new", "owner": "bob"}, headers={"X-API-Key": admin}
    )
    assert status == 201, text
    return [json.loads(text)["token"]]
