import asyncio

import pytest
from aiohttp import web

from gateway.check import Device, probe, probe_all, reasons_of
from gateway.config import RunnerConfig

STATS = {
    "system": {"comfyui_version": "0.33.0"},
    "devices": [{"name": "cuda:0 A100", "type": "cuda", "vram_total": 80 << 30, "vram_free": 70 << 30}],
}
ANSWERS = {
    "/system_stats": STATS,
    "/prompt": {"exec_info": {"queue_remaining": 3}},
    "/object_info": {"KSampler": {}, "SaveImage": {}},
}


@pytest.fixture
def start_runner(aiohttp_server):
    """Starts a runner that gives `answers` (path -> JSON data or a handler) and returns its endpoint."""

    async def start(answers=ANSWERS, prefix=""):
        def handler_of(answer):
            async def handler(_request):
                return web.json_response(answer)

            return answer if callable(answer) else handler

        app = web.Application()
        for path, answer in answers.items():
            app.router.add_get(prefix + path, handler_of(answer))
        server = await aiohttp_server(app)
        return f"http://127.0.0.1:{server.port}{prefix}"

    return start


def runner(endpoint, name="gpu-0", **keys):
    return RunnerConfig.model_validate({"name": name, "endpoint": endpoint, **keys})


async def test_a_good_runner_behind_a_path_prefix(start_runner):
    endpoint = await start_runner(prefix="/comfy")
    answer = await probe(runner(endpoint, tags=["sdxl"]))
    assert (answer.ok, answer.status, answer.reason) == (True, "ok", "")
    assert (answer.comfyui_version, answer.queue_remaining, answer.node_classes) == ("0.33.0", 3, 2)
    assert answer.devices == [Device("cuda:0 A100", 80 << 30, 70 << 30)]
    assert answer.tags == ("sdxl",)


async def test_sends_the_runners_headers(start_runner):
    async def stats(request):
        return web.json_response(STATS, status=200 if request.headers.get("X-Key") == "abc" else 401)

    endpoint = await start_runner({**ANSWERS, "/system_stats": stats})
    assert (await probe(runner(endpoint, headers={"X-Key": "abc"}))).ok
    refused = await probe(runner(endpoint))
    assert refused.status == "401"
    assert "headers" in refused.reason


async def test_does_not_follow_redirects(start_runner):
    async def elsewhere(_request):
        raise web.HTTPFound("http://127.0.0.1:1/")

    endpoint = await start_runner({**ANSWERS, "/prompt": elsewhere})
    assert (await probe(runner(endpoint))).status == "302"


@pytest.mark.parametrize(
    "stats", [{}, [], "x", {"system": {"comfyui_version": "1"}, "devices": 5}, {"system": [], "devices": []}]
)
async def test_something_else_behind_the_endpoint(start_runner, stats):
    endpoint = await start_runner({**ANSWERS, "/system_stats": stats})
    assert (await probe(runner(endpoint))).status == "not ComfyUI"


async def test_text_instead_of_json(start_runner):
    async def page(_request):
        return web.Response(text="<html>")

    endpoint = await start_runner({**ANSWERS, "/object_info": page})
    assert (await probe(runner(endpoint))).status == "not ComfyUI"


async def test_a_runner_that_never_answers_does_not_hold_up_the_others(start_runner):
    asked = asyncio.Event()

    async def silent(_request):
        asked.set()
        await asyncio.Event().wait()

    good = await start_runner()
    stuck = await start_runner({**ANSWERS, "/prompt": silent})
    probes = await probe_all([runner(stuck, "stuck"), runner(good, "good")], timeout=0.2)
    assert asked.is_set()
    assert [(each.name, each.status) for each in probes] == [("stuck", "unreachable"), ("good", "ok")]
    assert reasons_of(probes) == ["stuck: unreachable: no answer in time"]


async def test_nobody_listens(unused_tcp_port):
    answer = await probe(runner(f"http://127.0.0.1:{unused_tcp_port}"))
    assert answer.status == "unreachable"
    assert answer.reason
