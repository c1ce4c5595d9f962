"""What the stock frontend complains of over the gateway, it complains of over one server too: the same tab, once over a
gateway and three runners and once over one of them without a gateway, and the errors of its console and its failed
requests compared.
"""

import pytest
from playwright.async_api import expect
from support import workflows
from support.frontends import seen_before
from support.tabs import open_tab

from gateway.simulator import Simulator, SimulatorOptions

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


async def complaints(frontend, chromium_path, base, shots):
    """Of a visit: look around, run three, run one that fails, reload."""
    async with open_tab(chromium_path, base, frontend.version, shots) as tab:
        panel = frontend.panel(tab)
        await panel.open()
        await tab.show(workflows.batch(1))
        await tab.run(3)
        await panel.pictures(3)
        await tab.show(workflows.batch(9, fail_at=0))
        await tab.run()
        await expect(await panel.failure()).to_contain_text("probe was told to fail here")
        await tab.load()
        await panel.open()
        await panel.pictures(3)
        return tab.complaints


async def test_none_that_one_server_does_not_give(frontend, browsed_pool, chromium_path):
    over_gateway = await complaints(frontend, chromium_path, browsed_pool.base, "complaints-gateway")
    options = SimulatorOptions(name="alone", front_end_root=frontend.root, **frontend.options())
    async with Simulator(options) as simulator:
        await seen_before(simulator.url)
        direct = await complaints(frontend, chromium_path, simulator.url, "complaints-direct")
    assert over_gateway - direct == set()
