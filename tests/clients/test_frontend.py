"""The stock frontend in a real browser, over a gateway and three runners: two versions of it, one that reads /queue and
/history and one that reads /api/jobs. Pictures of the tab are kept in .artefacts/screenshots.
"""

import io
from collections import Counter
from urllib.parse import quote

import aiohttp
import pytest
from PIL import Image
from playwright.async_api import expect
from support import workflows
from support.png import seed_of
from support.tabs import filename_of, open_tab

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

STEPS_BEFORE_HALF = 4  # units of work of `workflows.batch` up to the middle of ProgressProbe: two nodes, two steps
HALFWAY = r"\[50%\] (ProgressProbe|Node)$"


@pytest.fixture
async def tab(frontend, browsed_pool, chromium_path, request):
    name = request.node.originalname.removeprefix("test_")
    async with open_tab(chromium_path, browsed_pool.base, frontend.version, name) as opened:
        yield opened


@pytest.fixture
def panel(frontend, tab):
    return frontend.panel(tab)


def hold(pool):
    """Holds every runner in the middle of its next job."""
    for simulator in pool.simulators:
        simulator.pause(STEPS_BEFORE_HALF)


def go_on(pool):
    for simulator in pool.simulators:
        simulator.resume()


def states(pool):
    """How many jobs the gateway has in each state."""
    return Counter(row["status"] for row in pool.rooms.jobs.rows(None))


async def save(pool, name, workflow):
    url = f"{pool.base}/api/userdata/{quote(f'workflows/{name}.json', safe='')}"
    async with aiohttp.ClientSession() as http, http.post(url, json=workflow) as answer:
        assert answer.status == 200


async def seeds_of(tab, addresses):
    return [seed_of(await tab.fetch(address)) for address in addresses]


async def test_a_saved_workflow_runs_eight_times(browsed_pool, tab, panel):
    await save(browsed_pool, "eight", workflows.batch(100))
    await tab.load()
    await tab.open_saved("eight")
    hold(browsed_pool)
    await tab.run(8)
    await tab.until_title(HALFWAY)
    await browsed_pool.until(lambda: states(browsed_pool) == {"in_progress": 3, "pending": 5})
    await panel.open()
    await expect(panel.unfinished()).to_have_count(8)
    await tab.shoot("three-run-five-wait")
    go_on(browsed_pool)
    addresses = await panel.pictures(8)
    await expect(panel.unfinished()).to_have_count(0)
    await tab.shoot("eight-results")
    seeds = await seeds_of(tab, addresses)
    assert sorted(seeds) == list(range(100, 108)), "every seed once"
    assert len({filename_of(address) for address in addresses}) == 8, "no two pictures share a name"
    (shown,) = await tab.shown_on(workflows.SAVE)
    assert (await seeds_of(tab, [shown]))[0] in seeds

    old = 5
    assert filename_of(await panel.enlarge(old)) == filename_of(addresses[old])
    await tab.shoot("an-old-result")
    await tab.page.keyboard.press("Escape")
    await panel.open_workflow(old)
    await tab.until_widget(workflows.PROBE, "seed", seeds[old])
    await tab.shoot("its-workflow")


async def test_stop_one_and_clear_the_rest(browsed_pool, tab, panel):
    await tab.show(workflows.batch(200))
    hold(browsed_pool)
    await tab.run(6)
    await tab.until_title(HALFWAY)
    await browsed_pool.until(lambda: states(browsed_pool) == {"in_progress": 3, "pending": 3})
    await panel.open()
    await expect(panel.unfinished()).to_have_count(6)
    stopped = await tab.stop()
    await browsed_pool.until(lambda: states(browsed_pool) == {"in_progress": 3, "pending": 2, "cancelled": 1})
    assert [row["id"] for row in browsed_pool.rooms.jobs.rows(None) if row["status"] == "cancelled"] == [stopped]
    await expect(panel.unfinished()).to_have_count(5)
    await tab.shoot("one-stopped")
    await panel.clear_pending()
    await browsed_pool.until(lambda: states(browsed_pool) == {"in_progress": 3, "cancelled": 1})
    await expect(panel.unfinished()).to_have_count(3)
    await tab.shoot("pending-cleared")
    go_on(browsed_pool)
    addresses = await panel.pictures(3)
    assert len(set(await seeds_of(tab, addresses))) == 3
    assert states(browsed_pool) == {"completed": 3, "cancelled": 1}


async def test_a_reload_in_the_middle(browsed_pool, tab, panel):
    await tab.show(workflows.batch(300))
    hold(browsed_pool)
    await tab.run(5)
    await tab.until_title(HALFWAY)
    await browsed_pool.until(lambda: states(browsed_pool) == {"in_progress": 3, "pending": 2})
    await tab.load()
    await tab.until_title(HALFWAY)
    await panel.open()
    await expect(panel.unfinished()).to_have_count(5)
    await tab.shoot("reloaded")
    go_on(browsed_pool)
    addresses = await panel.pictures(5)
    assert sorted(await seeds_of(tab, addresses)) == list(range(300, 305))
    await tab.until_title(r"ComfyUI$")


async def test_an_uploaded_picture_is_worked_on(browsed_pool, tab, tmp_path):
    picture = tmp_path / "a red one.png"
    Image.new("RGB", (40, 24), (255, 0, 0)).save(picture)
    await tab.show(workflows.negative("none.png"))
    await tab.choose_file(workflows.LOAD, picture)
    await tab.until_widget(workflows.LOAD, "image", "a red one.png")
    await tab.shown_on(workflows.LOAD)
    await tab.run()
    (shown,) = await tab.shown_on(workflows.PREVIEW)
    await tab.shoot("negative")
    with Image.open(io.BytesIO(await tab.fetch(shown))) as negative:
        assert negative.size == (40, 24)
        assert negative.convert("RGB").getpixel((0, 0)) == (0, 255, 255)


async def test_a_failing_node_is_shown_with_its_words(browsed_pool, tab, panel):
    await tab.show(workflows.batch(400, fail_at=1))
    await tab.run()
    await expect(await panel.failure()).to_contain_text("probe was told to fail here")
    await tab.shoot("failed")
    assert states(browsed_pool) == {"failed": 1}
