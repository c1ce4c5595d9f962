"""One prompt through the gateway, as ComfyUI's own websocket example sends it."""

from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool


async def test_example_pattern(tmp_path):
    async with running_pool(tmp_path) as pool, Client.connected(pool.base) as client:
        prompt_id = await client.submit(save_graph(7))
        await client.hear_end(prompt_id)
        told = client.told(prompt_id)
        assert told[:2] == ["execution_start", "execution_cached"]
        assert told[-2:] == ["execution_success", "executing"]
        (picture,) = await client.files(prompt_id)
        assert picture.startswith(b"\x89PNG")
