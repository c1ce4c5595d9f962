"""One tab of a real browser with the stock frontend in it, driven as a user does; what differs between the frontends'
versions is in the panels, `QueueTab` and `JobsPanel`.
"""

from __future__ import annotations

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import (
    ConsoleMessage,
    FileChooser,
    Locator,
    Page,
    Request,
    Response,
    ViewportSize,
    async_playwright,
)

from support.installs import ARTEFACTS

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing here talks to the internet
]
PATIENCE_MS = 30_000
SIZE: ViewportSize = {"width": 1500, "height": 900}
TALL: ViewportSize = {"width": 1500, "height": 2400}
READY = "window.app && window.app.graph && window.app.graph._nodes && window.app.vueAppReady && window.app.api.clientId"
JOB_ID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
RUN = 'button[data-testid="queue-button"], [data-testid="queue-button"] button'


@asynccontextmanager
async def open_tab(
    chromium: str, base: str, frontend: str, shots: str, *, size: ViewportSize | None = None, token: str | None = None
) -> AsyncIterator[Tab]:
    """A tab on the page at ``base``, logged in with a token where one is given; ``shots`` names the folder for pictures
    of it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        try:
            page = await browser.new_page(viewport=size or SIZE)
            page.set_default_timeout(PATIENCE_MS)
            folder = ARTEFACTS / "screenshots" / frontend / shots
            shutil.rmtree(folder, ignore_errors=True)
            tab = Tab(page, base, folder)
            if token is not None:
                await tab.log_in(token)
            await tab.load()
            yield tab
            await tab.shoot("end")
        finally:
            await browser.close()


class Tab:
    """``complaints`` has every error of the console and every request that failed, in words that two servers share."""

    def __init__(self, page: Page, base: str, shots: Path) -> None:
        self.page = page
        self.base = base
        self.complaints: set[str] = set()
        self._shots = shots
        self._shot = 0
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.add(f"uncaught: {self._plain(str(error))}"))
        page.on("response", self._response)
        page.on("requestfailed", self._failed)

    async def load(self) -> None:
        """Loads, or reloads, the page and waits until the frontend is at work."""
        await self.page.goto(self.base, wait_until="load")
        await self.page.wait_for_function(READY)

    async def log_in(self, token: str) -> None:
        """Gives the login page a token, and waits for the page that comes after it."""
        await self.page.goto(self.base, wait_until="load")
        await self.page.get_by_label("Token").fill(token)
        await self.shoot("login")
        async with self.page.expect_navigation(url=lambda url: "/gateway/login" not in url):
            await self.page.get_by_role("button", name="Log in").click()

    async def shoot(self, name: str) -> None:
        """Keeps a picture of the tab."""
        self._shots.mkdir(parents=True, exist_ok=True)
        self._shot += 1
        await self.page.screenshot(path=self._shots / f"{self._shot}-{name}.png")

    # what a user does

    async def show(self, workflow: dict[str, Any]) -> None:
        """Opens a workflow, as by dropping its file."""
        await self.page.evaluate("workflow => window.app.loadGraphData(workflow)", workflow)

    async def open_saved(self, name: str) -> None:
        """Opens a saved workflow from the sidebar."""
        await self.sidebar("Workflows")
        await self.page.locator(".workflows-sidebar-tab, .side-bar-panel").get_by_text(name).first.click()
        await self.page.wait_for_function("name => document.title.includes(name)", arg=name)
        await self.sidebar("Workflows")

    async def run(self, batch: int = 1) -> None:
        """Presses Run."""
        count = self.page.locator(".batch-count input")
        await count.click(click_count=3)
        await self.page.keyboard.type(str(batch))
        await count.press("Tab")
        await self.page.locator(RUN).first.click()

    async def stop(self) -> str:
        """Presses the cross beside Run; the job that the frontend asked to stop, which is the one that it shows."""
        async with self.page.expect_request(re.compile("/(interrupt|cancel)$")) as asked:
            await self.page.get_by_role("button", name="Cancel current run").click()
        request = await asked.value
        (job_id,) = re.findall(JOB_ID, f"{request.url} {request.post_data}")
        return str(job_id)

    async def choose_file(self, node_id: int, file: Path) -> None:
        """Chooses a file with the upload button of a LoadImage node, which is drawn on the canvas."""
        async with self.page.expect_file_chooser() as chosen:
            await self.page.evaluate(
                "id => { window.app.graph.getNodeById(id).widgets.find(w => w.name === 'upload').callback() }", node_id
            )
        chooser: FileChooser = await chosen.value
        await chooser.set_files(file)

    async def sidebar(self, name: str) -> None:
        """Opens a tab of the sidebar by the beginning of its name."""
        await self.page.get_by_role("button", name=re.compile(f"^{name}")).first.click()

    # what a user sees

    async def until_title(self, pattern: str) -> str:
        """The title of the tab once it matches; it tells the progress."""
        await self.page.wait_for_function("pattern => new RegExp(pattern).test(document.title)", arg=pattern)
        return await self.page.title()

    async def until_widget(self, node_id: int, name: str, value: Any) -> None:
        """Waits until a widget of a node of the open workflow has this value."""
        await self.page.wait_for_function(
            """([id, name, value]) =>
                window.app.graph.getNodeById(id)?.widgets.find(widget => widget.name === name)?.value === value""",
            arg=[node_id, name, value],
        )

    async def shown_on(self, node_id: int) -> list[str]:
        """The addresses of the pictures that a node shows, once it shows some."""
        await self.page.wait_for_function(
            "id => (window.app.graph.getNodeById(id).imgs ?? []).some(img => img.complete && img.naturalWidth)",
            arg=node_id,
        )
        found: list[str] = await self.page.evaluate(
            "id => window.app.graph.getNodeById(id).imgs.map(img => img.src)", node_id
        )
        return found

    async def fetch(self, url: str) -> bytes:
        """What the browser gets from an address that the page shows, without a preview's re-encoding."""
        return await (await self.page.request.get(re.sub(r"&preview=[^&]*", "", url))).body()

    # what went wrong

    def _plain(self, text: str) -> str:
        text = re.sub(r"https?://127\.0\.0\.1:\d+", "", text)
        text = re.sub(rf"{JOB_ID}|[0-9a-f]{{32,}}", "ID", text)
        text = re.sub(r"\b(rand|t|res)=[\d.]+", r"\1=…", text)
        return re.sub(r"-[\w-]{8}\.js(:\d+)*", ".js", text)[:300]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.complaints.add(f"console: {self._plain(message.text)}")

    def _response(self, response: Response) -> None:
        if response.status >= 400:
            self.complaints.add(f"{response.status} {response.request.method} {self._plain(response.url)}")

    def _failed(self, request: Request) -> None:
        # The page itself aborts requests, and what it wants from the internet is not the server's business.
        if request.failure != "net::ERR_ABORTED" and request.url.startswith(self.base):
            self.complaints.add(f"{request.failure} {request.method} {self._plain(request.url)}")


class Panel(ABC):
    """Where a version of the frontend lists jobs."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.page = tab.page

    @abstractmethod
    async def open(self) -> None:
        """Opens the panel."""

    @abstractmethod
    def finished(self) -> Locator:
        """The pictures of the finished jobs, newest first."""

    @abstractmethod
    def unfinished(self) -> Locator:
        """The rows of jobs that run or wait."""

    @abstractmethod
    async def clear_pending(self) -> None:
        """Presses the button that clears what waits."""

    @abstractmethod
    async def enlarge(self, index: int) -> str:
        """Opens the result at an index of `finished`; the address of the large picture."""

    @abstractmethod
    async def open_workflow(self, index: int) -> None:
        """Opens the workflow that made the result at an index of `finished`."""

    @abstractmethod
    async def failure(self) -> Locator:
        """What the frontend says of a node that failed, opened as far as the user has to."""

    async def pictures(self, count: int) -> list[str]:
        """The addresses of the finished jobs' pictures, once there are so many and all have loaded."""
        images = self.finished()
        await images.nth(count - 1).wait_for()
        await self.page.wait_for_function(
            "images => images.every(image => image.complete && image.naturalWidth)",
            arg=await images.element_handles(),
        )
        found: list[str] = await images.evaluate_all("images => images.map(image => image.src)")
        assert len(found) == count, found
        return found


class QueueTab(Panel):
    """The queue in the sidebar, up to 2025: fed by /queue and /history."""

    async def open(self) -> None:
        """See Panel."""
        await self.page.set_viewport_size(TALL)  # it holds only the rows that are in sight
        await self.tab.sidebar("Queue")
        await self.page.locator(".sidebar-content-container").wait_for()

    def finished(self) -> Locator:
        """See Panel."""
        return self.page.locator(".task-item img.task-output-image.comfy-image-main")

    def unfinished(self) -> Locator:
        """See Panel."""
        return self.page.locator(".task-item", has_text=re.compile("Pending|Running"))

    async def clear_pending(self) -> None:
        """See Panel."""
        await self.page.get_by_role("button", name="Clear Pending Tasks").first.click()

    async def enlarge(self, index: int) -> str:
        """See Panel."""
        await self.finished().nth(index).click()
        image = self.page.locator(".galleria-image").first
        await image.wait_for()
        address = await image.get_attribute("src")
        assert address
        return address

    async def open_workflow(self, index: int) -> None:
        """See Panel."""
        await self.finished().nth(index).click(button="right")
        await self.page.get_by_role("menuitem", name="Load Workflow").click()

    async def failure(self) -> Locator:
        """See Panel."""
        return self.page.get_by_role("dialog").last


class JobsPanel(Panel):
    """The panel of jobs beside Run, from 2026 on: fed by /api/jobs."""

    async def open(self) -> None:
        """See Panel."""
        toggle = self.page.get_by_test_id("queue-overlay-toggle")
        if await toggle.get_attribute("aria-pressed") != "true":  # it stays open over a reload
            await toggle.click()
        await self.page.get_by_test_id("job-assets-list").wait_for()

    def finished(self) -> Locator:
        """See Panel."""
        return self.page.locator("[data-job-id]", has_text=re.compile(r"\.png")).locator("img")

    def unfinished(self) -> Locator:
        """See Panel."""
        return self.page.locator("[data-job-id]", has_text=re.compile("queue|Running|Total:", re.IGNORECASE))

    async def clear_pending(self) -> None:
        """See Panel."""
        await self.page.get_by_role("button", name="Clear queued").first.click()

    async def enlarge(self, index: int) -> str:
        """See Panel."""
        await self.finished().nth(index).click()
        image = self.page.get_by_role("dialog").locator("img").first
        await image.wait_for()
        address = await image.get_attribute("src")
        assert address
        return address

    async def open_workflow(self, index: int) -> None:
        """See Panel."""
        await self.finished().nth(index).click(button="right")
        await self.page.get_by_text("Open as workflow in new tab").click()

    async def failure(self) -> Locator:
        """See Panel."""
        await self.page.get_by_role("button", name="View details").click()
        return self.page.get_by_test_id("runtime-error-panel")


def filename_of(address: str) -> str:
    """The file that an address of /view names."""
    return parse_qs(urlsplit(address).query)["filename"][0]
