"""@saintno/comfyui-sdk, a client for node: uploads, runs with callbacks, several at once, failures, and their files.

Of several runs at once on one websocket it takes the first `execution_success` for the end of all that have begun, and
it never returns from one whose end it learns from `status` and /history before it has heard of its beginning. Both hold
on one server, which runs one prompt at a time, so it has to be given one (`sessions.mode: serial`) or a websocket for
each run.
"""

import base64
import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from support import installs, programs
from support.png import seed_of
from support.pools import running_pool

from gateway.simulator.options import DEFAULT_CHECKPOINTS

PACKAGE = "@saintno/comfyui-sdk@0.3.1"
PROGRAM = Path(__file__).with_name("comfyui_sdk.mjs")
UNHURRIED = {"seconds_per_node": 0.2}  # it begins to listen once it has posted and looked into the history

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(params=[("auto", "many"), ("serial", "one")], ids=["a-websocket-each", "one-websocket-serial"])
async def report(request, tmp_path):
    mode, sockets = request.param
    installed = installs.node_modules(PACKAGE)
    picture = tmp_path / "picture.png"
    Image.new("RGB", (30, 20), (0, 0, 255)).save(picture)
    async with running_pool(tmp_path, options=[UNHURRIED] * 3, config={"sessions": {"mode": mode}}) as pool:
        done = await programs.run(shutil.which("node"), PROGRAM, pool.base, installed, picture, sockets, home=tmp_path)
    assert done.code == 0, done
    return json.loads(done.out.splitlines()[-1])


def pictures(told):
    return [base64.b64decode(encoded) for encoded in told["pictures"]]


async def test_a_program_of_a_user(report):
    assert report["checkpoints"] == list(DEFAULT_CHECKPOINTS)
    assert report["uploaded"]["filename"] == "from the sdk.png"
    (negative,) = pictures(report["negative"])
    with Image.open(io.BytesIO(negative)) as image:
        assert (image.size, image.convert("RGB").getpixel((0, 0))) == ((30, 20), (255, 255, 0))

    one = report["one"]
    assert one["pending"] == one["start"] == one["finished"]
    assert one["progress"] >= 2
    assert one["previews"] >= 1
    assert [seed_of(each) for each in pictures(one)] == [50]

    assert [[seed_of(each) for each in pictures(told)] for told in report["batch"]] == [[n] for n in range(60, 66)]
    assert len({told["files"][0]["filename"] for told in report["batch"]}) == 6

    assert "probe was told to fail here" in report["failed"]["failed"]
    assert report["failed"]["pictures"] == []
