"""Tokens over HTTP: how they are presented, what admins do with them, logging in, what ends with a token, the trail."""

import asyncio
import base64

import aiohttp
import pytest
from support.client import PATIENCE_SECONDS, Client
from support.owners import guarded_pool, token_of
from support.pools import running_pool

from gateway.access.credentials import SESSION_COOKIE
from gateway.access.tokens import CONFIGURED

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
async def pool(tmp_path):
    async with guarded_pool(tmp_path, 1, config={"frontend": {"source": "none"}}) as opened:
        yield opened


@pytest.fixture
async def http():
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


class Admin:
    """Calls ``/gateway/api`` with an admin's token."""

    def __init__(self, pool, http, token):
        self.url = f"{pool.base}/gateway/api"
        self.http = http
        self.headers = {"Authorization": f"Bearer {token}"}

    async def call(self, method, path, status=200, **more):
        async with self.http.request(method, self.url + path, headers=self.headers, **more) as answer:
            assert answer.status == status, (answer.status, await answer.text())
            return await answer.json()


@pytest.fixture
async def admin(pool, http):
    return Admin(pool, http, await token_of(pool, "root", ("admin",)))


async def status_of(pool, http, path="/queue", **headers):
    async with http.get(pool.base + path, headers=headers, allow_redirects=False) as answer:
        return answer.status


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class TestPresenting:
    async def test_every_way(self, pool, http):
        token = await token_of(pool, "alice")
        for headers in (
            bearer(token),
            {"X-API-Key": token},
            basic("anyone", token),
            basic(token, ""),
            bearer(f" {token} "),
        ):
            assert await status_of(pool, http, **headers) == 200, headers
        async with http.ws_connect(f"{pool.base}/ws?token={token}") as socket:
            assert (await socket.receive_json(timeout=10))["type"] == "status"

    async def test_not_in_the_query_of_a_request(self, pool, http):
        token = await token_of(pool, "alice")
        assert await status_of(pool, http, f"/queue?token={token}") == 401

    async def test_what_is_no_token_counts_only_where_nothing_else_is_there(self, pool, http):
        token = await token_of(pool, "alice")
        assert await status_of(pool, http, **basic("proxy", "password"), **{"X-API-Key": token}) == 200
        assert await status_of(pool, http, **basic("proxy", "password")) == 401

    @pytest.mark.parametrize(
        "value", ["Bearer", "Bearer ", "Basic !", "Basic Og==", "Bearer cgw_ä", "Digest x", "\xff"]
    )
    async def test_malformed_ones_are_401(self, pool, http, value):
        assert await status_of(pool, http, Authorization=value) == 401

    async def test_a_refusal_says_how_to_authenticate(self, pool, http):
        async with http.get(f"{pool.base}/queue") as answer:
            assert answer.headers["WWW-Authenticate"] == 'Bearer realm="comfy-gateway"'
            assert (await answer.json())["error"]["type"] == "unauthorized"
        async with http.get(f"{pool.base}/queue", headers=bearer("cgw_" + "x" * 43)) as answer:
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
        async with http.get(f"{pool.base}/v1/user") as answer:
            assert await answer.json() == {"status": 401, "message": "A token is needed"}
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    async def test_a_token_of_the_command_line_is_known_at_once(self, pool, http):
        from gateway.cli.offices import beside

        async with beside(pool.config) as office:
            made = await office.create({"name": "new"})
            assert await status_of(pool, http, **bearer(made["token"])) == 200
            await office.revoke(made["id"])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await status_of(pool, http, **bearer(made["token"])) == 200:
                await asyncio.sleep(0.05)


async def test_without_tokens_nothing_is_asked(tmp_path, http):
    async with running_pool(tmp_path, 1, config={"frontend": {"source": "none"}}) as pool:
        for path in ("/queue", "/gateway/metrics", "/gateway/api/tokens", "/gateway/api/audit"):
            assert await status_of(pool, http, path) == 200
            assert await status_of(pool, http, path, **bearer("cgw_" + "x" * 43)) == 200, "a key for elsewhere"
        async with http.get(f"{pool.base}/gateway/login") as page:
            assert "No login is needed" in await page.text()


class TestAdmins:
    async def test_the_life_of_a_token(self, pool, http, admin):
        body = {"name": "ci", "owner": "robots", "tags": ["sdxl"], "limits": {"pending": 3}, "expires_in_days": 1}
        made = await admin.call("POST", "/tokens", 201, json=body)
        assert (made["owner"], made["scopes"], made["state"]) == ("robots", ["run"], "live")
        others = dict.fromkeys(("rate", "running", "sockets", "body_bytes", "max_stored_bytes"))
        assert made["limits"] == others | {"pending": 3}
        assert await status_of(pool, http, **bearer(made["token"])) == 200
        seen = await admin.call("GET", f"/tokens/{made['id']}")
        assert "token" not in seen
        assert seen["last_used_at"]
        changed = await admin.call("PATCH", f"/tokens/{made['id']}", json={"weight": 2, "expires_in_days": None})
        assert (changed["weight"], changed["expires_at"], changed["tags"]) == (2, None, ["sdxl"])
        rotated = await admin.call("POST", f"/tokens/{made['id']}/rotate", 201, json={"grace_hours": 1})
        assert (rotated["owner"], rotated["weight"]) == ("robots", 2)
        for secret in (made["token"], rotated["token"]):
            assert await status_of(pool, http, **bearer(secret)) == 200, "both live"
        assert (await admin.call("DELETE", f"/tokens/{made['id']}"))["state"] == "revoked"
        assert await status_of(pool, http, **bearer(made["token"])) == 401
        assert await status_of(pool, http, **bearer(rotated["token"])) == 200
        listed = (await admin.call("GET", "/tokens?owner=robots"))["tokens"]
        assert [each["state"] for each in listed] == ["revoked", "live"]

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({}, "name"),
            ({"name": ""}, "name"),
            ({"name": "two words"}, ""),
            ({"name": "x", "owner": "../up"}, "owner"),
            ({"name": "x", "scopes": []}, "scopes"),
            ({"name": "x", "scopes": ["root"]}, "scopes.0"),
            ({"name": "x", "tags": ["a b"]}, "tags.0"),
            ({"name": "x", "weight": 0}, "weight"),
            ({"name": "x", "weight": True}, "weight"),
            ({"name": "x", "limits": {"rate": 0}}, "limits.rate"),
            ({"name": "x", "limits": {"rates": 1}}, "limits.rates"),
            ({"name": "x", "expires_in_days": -1}, "expires_in_days"),
            ({"name": "x", "secret": "mine"}, "secret"),
            ([], ""),
        ],
    )
    async def test_a_fault_names_its_field(self, admin, body, field):
        told = await admin.call("POST", "/tokens", 400, json=body)
        assert list(told["error"]["extra_info"]["fields"]) == [field]

    async def test_unknown_and_dead_ones(self, pool, admin):
        assert (await admin.call("GET", "/tokens/x", 404))["error"]["type"] == "token_not_found"
        await admin.call("DELETE", "/tokens/x", 404)
        made = await admin.call("POST", "/tokens", 201, json={"name": "x"})
        await admin.call("DELETE", f"/tokens/{made['id']}")
        for method, path in (("POST", f"/tokens/{made['id']}/rotate"), ("PATCH", f"/tokens/{made['id']}")):
            assert (await admin.call(method, path, 409, json={}))["error"]["type"] == "token_not_changeable"

    async def test_what_was_done_is_in_the_trail(self, pool, admin):
        made = await admin.call("POST", "/tokens", 201, json={"name": "x"})
        await admin.call("DELETE", f"/tokens/{made['id']}")
        page = await admin.call("GET", "/audit?limit=1")
        (newest,) = page["entries"]
        assert (newest["action"], newest["target"], newest["owner"]) == ("token.revoke", made["id"], "root")
        assert (newest["token_name"], newest["address"]) == ("root's", "127.0.0.1")
        (older,) = (await admin.call("GET", f"/audit?before={page['next']}"))["entries"]
        assert (older["action"], older["detail"]["scopes"]) == ("token.create", ["run"])
        assert (await admin.call("GET", "/audit?action=token.create"))["entries"] == [older]
        assert (await admin.call("GET", "/audit?owner=nobody"))["entries"] == []
        for query in ("limit=0", "limit=x", "before=0", "what=ever"):
            await admin.call("GET", f"/audit?{query}", 400)


async def test_a_configured_admin(tmp_path, http):
    secret = "cgw_" + "0123456789abcdef" * 3
    config = {"access": {"mode": "tokens", "admin_token": secret}}
    async with running_pool(tmp_path, 0, config=config) as pool:
        assert await pool.rooms.access.first_admin() is None, "nobody has to be shown one"
        admin = Admin(pool, http, secret)
        assert [each["id"] for each in (await admin.call("GET", "/tokens"))["tokens"]] == [CONFIGURED]
        await admin.call("DELETE", f"/tokens/{CONFIGURED}", 409)


async def test_the_first_admin_is_made_once(tmp_path, http):
    config = {"access": {"mode": "tokens"}}
    async with running_pool(tmp_path, 0, config=config) as pool:
        secret = await pool.rooms.access.first_admin()
        await Admin(pool, http, secret).call("GET", "/tokens")
        assert await pool.rooms.access.first_admin() is None
    async with running_pool(tmp_path, 0, config=config) as pool:
        assert await pool.rooms.access.first_admin() is None
        await Admin(pool, http, secret).call("GET", "/tokens")


async def log_in(pool, http, token, **fields):
    async with http.post(
        f"{pool.base}/gateway/login", data={"token": token, **fields}, allow_redirects=False
    ) as answer:
        cookie = answer.cookies.get(SESSION_COOKIE)
        return answer.status, answer.headers.get("Location"), cookie.value if cookie else None


class TestLogin:
    async def test_a_cookie_stands_for_the_token(self, pool, http):
        token = await token_of(pool, "alice")
        status, location, session = await log_in(pool, http, token, next="/queue?a=b")
        assert (status, location) == (303, "/queue?a=b")
        assert await status_of(pool, http, Cookie=f"{SESSION_COOKIE}={session}") == 200
        async with http.post(
            f"{pool.base}/gateway/logout", headers={"Cookie": f"{SESSION_COOKIE}={session}"}, allow_redirects=False
        ) as answer:
            assert answer.headers["Location"] == "/gateway/login"
        assert await status_of(pool, http, Cookie=f"{SESSION_COOKIE}={session}") == 401

    async def test_it_outlives_a_restart_and_dies_with_its_token(self, tmp_path, http):
        async with guarded_pool(tmp_path, 1) as pool:
            token = await token_of(pool, "alice")
            _, _, session = await log_in(pool, http, token)
        async with guarded_pool(tmp_path, 1) as pool:
            cookie = {"Cookie": f"{SESSION_COOKIE}={session}"}
            assert await status_of(pool, http, **cookie) == 200
            await pool.rooms.access.tokens.revoke(pool.rooms.access.tokens.find(token).id)
            assert await status_of(pool, http, **cookie) == 401

    @pytest.mark.parametrize(
        "elsewhere",
        [
            "//evil.example",
            "https://evil.example/",
            "/\\evil.example",
            "\\evil",
            "javascript:alert(1)",
            "/\tx",
            "x",
            "/a b",
        ],
    )
    async def test_it_leads_nowhere_else(self, pool, http, elsewhere):
        token = await token_of(pool, "alice")
        status, location, _ = await log_in(pool, http, token, next=elsewhere)
        assert (status, location) == (303, "/")

    async def test_the_page_quotes_nothing_unescaped(self, pool, http):
        async with http.get(f"{pool.base}/gateway/login", params={"next": '/"><script>x</script>'}) as page:
            assert "<script" not in await page.text()

    async def test_wrong_tokens_are_counted(self, tmp_path, http):
        access = {"access": {"mode": "tokens", "login_attempts_per_minute": 3}}
        async with running_pool(tmp_path, 0, config=access) as pool:
            token = await token_of(pool, "alice")
            for _ in range(3):
                assert (await log_in(pool, http, "wrong"))[0] == 401
            async with http.post(f"{pool.base}/gateway/login", data={"token": token}, allow_redirects=False) as answer:
                assert answer.status == 429
                assert 0 < int(answer.headers["Retry-After"]) <= 60
                assert SESSION_COOKIE not in answer.cookies

    async def test_a_form_is_small_and_a_form(self, pool, http):
        url = f"{pool.base}/gateway/login"
        for status, more in (
            (415, {"json": {"token": "x"}}),
            (413, {"data": b"x" * 10_000, "headers": {"Content-Type": FORM}}),
            (400, {"data": b"token=\xff\xfe", "headers": {"Content-Type": FORM}}),
            (400, {"data": b"&".join([b"a=b"] * 100), "headers": {"Content-Type": FORM}}),
        ):
            async with http.post(url, **more) as answer:
                assert answer.status == status, more

    async def test_another_sites_page_logs_nobody_in(self, pool, http):
        token = await token_of(pool, "alice")
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        async with http.post(f"{pool.base}/gateway/login", data={"token": token}, headers=headers) as answer:
            assert answer.status == 403

    async def test_under_a_prefix_behind_a_proxy_with_tls(self, tmp_path, http):
        server = {"port": 0, "prefix": "/comfy", "trusted_proxies": ["127.0.0.0/8"]}
        async with guarded_pool(tmp_path, 0, config={"server": server}) as pool:
            url = pool.base
            async with http.get(f"{url}/queue?a=b", headers={"Accept": "text/html"}, allow_redirects=False) as answer:
                assert answer.headers["Location"] == "/comfy/gateway/login?next=%2Fcomfy%2Fqueue%3Fa%3Db"
            async with http.get(f"{url}/gateway/login") as page:
                assert 'action="/comfy/gateway/login"' in await page.text()
            form = {"token": await token_of(pool, "alice")}
            proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
            async with http.post(f"{url}/gateway/login", data=form, headers=proxied, allow_redirects=False) as answer:
                assert answer.headers["Location"] == "/comfy/"
                cookie = answer.cookies[SESSION_COOKIE]
                assert (cookie["path"], cookie["secure"], cookie["httponly"]) == ("/comfy/", True, True)
            (line,) = await pool.rooms.access.trail.page(limit=1)
            assert (line.action, line.address) == ("login", "203.0.113.9")


class TestWebsockets:
    async def test_one_ends_with_its_token(self, pool):
        token = await token_of(pool, "alice")
        async with (
            Client.connected(pool.base, token=token) as client,
            Client.connected(pool.base, token=await token_of(pool, "alice")) as other,
        ):
            await client.hear()
            await other.hear()
            await pool.rooms.access.tokens.revoke(pool.rooms.access.tokens.find(token).id)
            frame = await client.socket.receive(timeout=PATIENCE_SECONDS)
            assert frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)
            await other.socket.ping()
            assert not other.socket.closed

    async def test_one_ends_with_its_session(self, pool, http):
        _, _, session = await log_in(pool, http, await token_of(pool, "alice"))
        cookie = {"Cookie": f"{SESSION_COOKIE}={session}"}
        async with http.ws_connect(f"{pool.base}/ws", headers=cookie) as socket:
            await socket.receive(timeout=PATIENCE_SECONDS)
            await http.post(f"{pool.base}/gateway/logout", headers=cookie)
            frame = await socket.receive(timeout=PATIENCE_SECONDS)
            assert frame.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)


async def test_the_owner_is_the_user_whatever_comfy_user_says(tmp_path, http):
    async with guarded_pool(tmp_path, 0, config={"userdata": {"multi_user": True}}) as pool:
        alice, bob = await token_of(pool, "alice"), await token_of(pool, "bob")
        url = f"{pool.base}/userdata/notes.txt"
        async with http.post(url, data="alice's", headers=bearer(alice)) as answer:
            assert answer.status == 200
        async with http.get(f"{pool.base}/users", headers=bearer(bob)) as answer:
            assert await answer.json() == {"storage": "server", "migrated": False}
        for user in ("alice", "default", ""):
            async with http.get(url, headers={**bearer(bob), "comfy-user": user}) as answer:
                assert answer.status == 404
            async with http.get(url, headers={**bearer(alice), "comfy-user": user}) as answer:
                assert await answer.text() == "alice's"
