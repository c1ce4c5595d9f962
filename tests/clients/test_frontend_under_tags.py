"""The stock frontend under a base URL of tags, in a real browser: a ComfyUI of the runners that have them."""

from contextlib import AsyncExitStack

import pytest
from support import workflows
from support.client import Client
from support.frontends import seen_before
from support.png import seed_of
from support.pools import gateway_over
from support.tabs import open_tab

from gateway.simulator import Simulator, SimulatorOptions

TAGS = {"gpu-0": ["flux"], "gpu-1": ["sdxl", "gpu-a100"], "gpu-2": ["flux"]}

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
async def tagged_pool(frontend, tmp_path):
    async with AsyncExitStack() as stack:
        options = [SimulatorOptions(**{**frontend.options(), "name": name}) for name in TAGS]
        simulators = [await stack.enter_async_context(Simulator(each)) for each in options]
        runners = [
            {"name": each.options.name, "endpoint": each.url, "tags": TAGS[each.options.name]} for each in simulators
        ]
        config = {"frontend": {"root": frontend.root}, "runners": runners}
        running = await stack.enter_async_context(gateway_over(tmp_path, simulators, config=config))
        await seen_before(running.base)
        yield running


async def test_jobs_of_a_tab_run_on_the_runners_with_its_tags(frontend, tagged_pool, chromium_path):
    base = f"{tagged_pool.base}/tags/sdxl+gpu-a100"
    async with open_tab(chromium_path, f"{base}/", frontend.version, "tags") as tab:
        for seed in (500, 600):
            await tab.show(workflows.batch(seed))
            await tab.run()
            (shown,) = await tab.shown_on(workflows.SAVE)
            assert "/tags/sdxl+gpu-a100/" in shown or "/tags/sdxl%2Bgpu-a100/" in shown
            assert seed_of(await tab.fetch(shown)) == seed
    async with Client.connected(tagged_pool.base) as client:
        jobs = (await client.get("/api/jobs"))["jobs"]
        stories = [await client.get(f"/gateway/api/jobs/{each['id']}") for each in jobs]
        assert len(stories) == 2
        assert {story["runner"] for story in stories} == {"gpu-1"}
        assert all(story["tags"] == ["sdxl", "gpu-a100"] for story in stories)
