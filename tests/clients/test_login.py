"""A browser in front of a gateway that asks for tokens: it logs in once, and the stock frontend, its websocket and its
pictures work as they are; another's browser sees nothing of it; who is logged out, or whose token dies, is out at once.
"""

import pytest
from playwright.async_api import async_playwright, expect
from support import workflows
from support.frontends import seen_before
from support.owners import guarded_pool, token_of
from support.tabs import ARGUMENTS, open_tab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
async def pool(frontend, tmp_path):
    """As `browsed_pool`, with tokens."""
    options = [{"name": f"gpu-{number}", **frontend.options()} for number in range(2)]
    async with guarded_pool(tmp_path, options=options, config={"frontend": {"root": frontend.root}}) as running:
        yield running


async def test_the_frontend_works_after_a_login(pool, frontend, chromium_path):
    secret, others = await token_of(pool, "alice"), await token_of(pool, "bob")
    await seen_before(pool.base, secret)
    async with open_tab(chromium_path, pool.base, frontend.version, "login", token=secret) as tab:
        panel = frontend.panel(tab)
        await tab.show(workflows.batch(100))
        await tab.run(3)
        await panel.open()
        addresses = await panel.pictures(3)
        await tab.shown_on(workflows.SAVE)
        await tab.shoot("pictures")
        assert len(pool.rooms.jobs.rows("alice")) == len(pool.rooms.jobs.rows(None)) == 3
        for address in addresses:
            assert (await tab.fetch(address)).startswith(b"\x89PNG")

        await seen_before(pool.base, others)
        async with open_tab(chromium_path, pool.base, frontend.version, "login-other", token=others) as other:
            assert (await other.page.request.get(addresses[0])).status == 404
            assert (await (await other.page.request.get(f"{pool.base}/history")).json()) == {}

        async with tab.page.expect_event("websocket", lambda socket: "/ws" in socket.url) as again:
            await pool.rooms.access.tokens.revoke(pool.rooms.access.tokens.find(secret).id)
        await again.value  # the socket was closed, and the frontend tries to open it anew
        await tab.page.goto(pool.base)
        await expect(tab.page.get_by_label("Token")).to_be_visible()


async def test_wrong_tokens_and_the_way_back(tmp_path, chromium_path):
    async with guarded_pool(tmp_path, 1, config={"frontend": {"source": "none"}}) as pool:
        secret = await token_of(pool, "alice")
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium_path, args=ARGUMENTS)
            page = await browser.new_page()
            violations = []
            page.on("console", lambda message: violations.append(message.text) if "Policy" in message.text else None)
            await page.goto(f"{pool.base}/queue?a=1&b=%C3%BC")
            await page.get_by_label("Token").fill("not-a-token")
            await page.get_by_role("button").click()
            await expect(page.get_by_role("alert")).to_be_visible()
            await page.get_by_label("Token").fill(secret)
            await page.get_by_role("button").click()
            await page.wait_for_url(f"{pool.base}/queue?a=1&b=%C3%BC")
            assert "queue_running" in await page.content()

            (cookie,) = [each for each in await page.context.cookies() if each["name"] == "comfy_gateway_session"]
            assert (cookie["httpOnly"], cookie["sameSite"], cookie["secure"]) == (True, "Lax", False)
            await page.goto(f"{pool.base}/gateway/login")
            await expect(page.get_by_role("heading")).to_have_text("Logged in as alice")
            await page.get_by_role("button", name="Log out").click()
            await expect(page.get_by_label("Token")).to_be_visible()
            dead = f"{cookie['name']}={cookie['value']}"
            answer = await page.request.get(f"{pool.base}/queue", headers={"Cookie": dead})
            assert answer.status == 401
            assert violations == []
            await browser.close()
