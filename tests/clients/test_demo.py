"""The demo as a newcomer meets it: the installed frontend opens on its default graph, and Run shows the picture."""

import re
import sys
from asyncio import subprocess

import pytest
from support.png import texts_of
from support.tabs import open_tab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

WHOLE_GRAPH = {"width": 1920, "height": 1080}  # nodes out of sight load no pictures


@pytest.fixture
async def demo(tmp_path):
    """The address of a demo of its own."""
    process = await subprocess.create_subprocess_exec(
        sys.executable, "-m", "gateway", "demo", "--port", "0", stdout=subprocess.PIPE, cwd=tmp_path
    )
    try:
        async for line in process.stdout:
            if found := re.fullmatch(r"\s*(http://127\.0\.0\.1:\d+)/\s*", line.decode()):
                yield found[1]
                break
        else:
            pytest.fail("the demo ended early")
    finally:
        process.terminate()
        await process.communicate()


async def test_a_newcomer_presses_run(demo, chromium_path):
    async with open_tab(chromium_path, demo, "demo", "newcomer", size=WHOLE_GRAPH) as tab:
        save = await tab.page.wait_for_function("window.app.graph._nodes.find(node => node.type === 'SaveImage')?.id")
        assert await tab.page.get_by_role("dialog").count() == 0, "nothing lies over the graph"
        assert await tab.page.get_by_role("alert").filter(has_text=re.compile(r"\w")).count() == 0
        await tab.shoot("first-sight")
        await tab.run()
        (shown,) = await tab.shown_on(await save.json_value())
        await tab.shoot("picture")
        assert "KSampler" in texts_of(await tab.fetch(shown))["prompt"]
        assert [each for each in tab.complaints if not each.startswith("404 ")] == []


async def test_a_newcomer_looks_for_templates(demo, chromium_path):
    """Without a templates package there are none, and nothing fails for it."""
    async with open_tab(chromium_path, demo, "demo", "templates", size=WHOLE_GRAPH) as tab:
        await tab.page.evaluate("window.app.extensionManager.command.execute('Comfy.BrowseTemplates')")
        await tab.page.get_by_role("dialog").wait_for()
        await tab.page.wait_for_load_state("networkidle")
        await tab.shoot("dialog")
        assert [each for each in tab.complaints if not each.startswith("404 ")] == []
