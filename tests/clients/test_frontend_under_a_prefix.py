"""The stock frontend under a path prefix, in a real browser: it takes its base from the page's own address."""

import pytest
from support import workflows
from support.frontends import seen_before
from support.png import seed_of
from support.pools import running_pool
from support.tabs import open_tab

ICONS = "/assets/images/favicon_progress_"

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
async def prefixed_pool(frontend, tmp_path):
    config = {"frontend": {"root": frontend.root}, "server": {"port": 0, "prefix": "/studio/comfy"}}
    async with running_pool(tmp_path, 1, options=[frontend.options()], config=config) as running:
        await seen_before(running.base)
        yield running


async def test_a_job_runs_and_its_picture_is_shown(frontend, prefixed_pool, chromium_path):
    async with open_tab(chromium_path, f"{prefixed_pool.base}/", frontend.version, "prefix") as tab:
        await tab.show(workflows.batch(500))
        await tab.run()
        (shown,) = await tab.shown_on(workflows.SAVE)
        assert seed_of(await tab.fetch(shown)) == 500
        # What it asks for without the prefix is the page icon's progress, which its own bundle names from the root.
        lost = {words for words in tab.complaints if words.startswith("404 ") and " /studio/comfy/" not in words}
        assert all(words.startswith(f"404 GET {ICONS}") for words in lost)
