"""comfy_api_simplified, a client for Python as people script with: a websocket per prompt, opened after the prompt was
posted, which takes the end from `executing`, or from a `status` that says that nothing remains.
"""

import base64
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from support import installs, programs
from support.graphs import invert_graph, save_graph
from support.png import seed_of
from support.pools import running_pool

PACKAGE = "comfy_api_simplified==1.6.0"
PROGRAM = Path(__file__).with_name("api_simplified.py")
NO_PREVIEWS = {"preview_size": 0}  # it takes every binary frame for a result

pytestmark = pytest.mark.timeout(240)


def titled(graph, **titles):
    """The graph as the frontend exports it: nodes with titles, by which this client finds them."""
    by_node = {node_id: title for title, node_id in titles.items()}
    return {node_id: node | {"_meta": {"title": by_node.get(node_id, "")}} for node_id, node in graph.items()}


@pytest.fixture
async def report(tmp_path):
    python = installs.python_with("comfy-api-simplified", PACKAGE) / "python"
    batch, negative, picture = tmp_path / "batch.json", tmp_path / "negative.json", tmp_path / "green.png"
    batch.write_text(json.dumps(titled(save_graph(0, seconds=0.2), Probe="2", Save="3")))
    negative.write_text(json.dumps(titled(invert_graph(""), Load="1", Save="3")))
    Image.new("RGB", (12, 34), (0, 255, 0)).save(picture)
    async with running_pool(tmp_path, options=[NO_PREVIEWS] * 3) as pool:
        done = await programs.run(python, PROGRAM, pool.base, batch, negative, picture, home=tmp_path)
    assert done.code == 0, done
    return json.loads(done.out.splitlines()[-1])


async def test_a_program_of_a_user(report):
    pictures = [[base64.b64decode(data) for data in images.values()] for images in report["several"]]
    assert [[seed_of(each) for each in images] for images in pictures] == [[seed] for seed in range(80, 86)]
    assert len({name for images in report["several"] for name in images}) == 6
    (negative,) = map(base64.b64decode, report["negative"])
    with Image.open(io.BytesIO(negative)) as image:
        assert (image.size, image.convert("RGB").getpixel((0, 0))) == ((12, 34), (255, 0, 255))
