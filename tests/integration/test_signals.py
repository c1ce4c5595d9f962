"""The gateway as a process, and the signals that its operator sends it."""

import asyncio
import signal

import aiohttp
import yaml
from support.client import Client
from support.graphs import save_graph
from support.processes import PATIENCE_SECONDS, free_port, gateway_process, runner_processes, until, write_config


def rewrite(path, change):
    settings = yaml.safe_load(path.read_text())
    change(settings)
    path.write_text(yaml.safe_dump(settings))


async def test_sighup_adds_and_removes_runners_and_drops_no_client(tmp_path):
    async with runner_processes(tmp_path, 2) as (first, second):
        config = write_config(tmp_path, [first])
        async with gateway_process(config) as gateway, Client.connected(gateway.url) as client:

            async def runners():
                return [runner["name"] for runner in (await client.get("/gateway/api/runners"))["runners"]]

            async def logged(text):
                return text in gateway.output

            await first.control("pause")
            job = await client.submit(save_graph(1))
            await first.until_held()

            rewrite(config, lambda settings: settings["runners"][0].update(endpoint="nowhere"))
            gateway.process.send_signal(signal.SIGHUP)
            await until(lambda: logged("reload.refused"), "a wrong file is refused")
            assert "runners[0].endpoint" in gateway.output
            assert await runners() == ["gpu-0"]

            new = {"name": "gpu-1", "endpoint": second.url}
            rewrite(config, lambda settings: settings.update(runners=[new], queue={"max_pending": 7}))
            gateway.process.send_signal(signal.SIGHUP)
            await until(lambda: logged("reload.done"), "the list is applied")
            assert "reload.needs_restart" in gateway.output
            other = await client.submit(save_graph(2))
            await client.hear_end(other)
            assert await executions(second) == {other: 1}

            await first.control("resume")
            await client.hear_end(job)
            await until(lambda: _is(runners, ["gpu-1"]), "the old runner has left")
            await client.hear_end(await client.submit(save_graph(3)))  # by the same websocket


async def _is(read, wanted):
    return await read() == wanted


async def test_sigterm_refuses_prompts_finishes_dispatches_and_exits_with_0(tmp_path):
    async with runner_processes(tmp_path, 1) as (runner,):
        config = write_config(tmp_path, [runner], server={"port": free_port(), "shutdown_seconds": 60})
        async with gateway_process(config) as gateway, Client.connected(gateway.url) as client:
            running = await _running_job(client, runner)
            await runner.control("faults", path="/prompt", hang=True)
            under_way = asyncio.create_task(client.submit(save_graph(2)))
            await until(lambda: _submitting(client), "the prompt is being posted")
            gateway.process.send_signal(signal.SIGTERM)
            await until(lambda: _stops(client), "the gateway says that it stops")

            async with client.http.post(gateway.url + "/prompt", json={"prompt": save_graph(3)}) as answer:
                body = await answer.json()
                assert (answer.status, body["error"]["type"]) == (503, "gateway_stopping")
                assert int(answer.headers["Retry-After"]) > 0
                assert body["node_errors"] == {}
            assert (await client.get("/queue"))["queue_running"][0][1] == running

            await runner.control("faults", clear=True)
            accepted = await under_way
            while (frame := await client.socket.receive(PATIENCE_SECONDS)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert (frame.type, frame.data) == (aiohttp.WSMsgType.CLOSE, 1001)
            assert await asyncio.wait_for(gateway.process.wait(), PATIENCE_SECONDS) == 0
        await runner.control("resume")
        async with gateway_process(config) as gateway, Client.connected(gateway.url) as client:
            await until(lambda: _has_ended(client, [running, accepted]), "the next life finds both again")
        assert await executions(runner) == {running: 1, accepted: 1}


async def test_a_second_signal_ends_at_once(tmp_path):
    async with runner_processes(tmp_path, 1) as (runner,):
        config = write_config(tmp_path, [runner])
        rewrite(config, lambda settings: settings["server"].update(shutdown_seconds=3600))
        async with gateway_process(config) as gateway, Client.connected(gateway.url) as client:
            await runner.control("faults", path="/prompt", hang=True)
            under_way = asyncio.create_task(client.post("/prompt", {"prompt": save_graph(1)}))
            await until(lambda: _submitting(client), "the prompt is being posted")
            gateway.process.send_signal(signal.SIGTERM)
            await until(lambda: _stops(client), "the gateway says that it stops")
            assert await gateway.terminate() == -signal.SIGTERM
            under_way.cancel()


async def executions(runner):
    """How often each prompt ran on this runner."""
    return dict((await runner.state())["executed"])


async def _running_job(client, runner):
    await runner.control("pause")
    job = await client.submit(save_graph(1))
    await runner.until_held()
    return job


async def _submitting(client):
    async with client.http.get(client.base + "/gateway/metrics") as answer:
        return 'comfy_gateway_jobs{state="submitting"} 1.0' in await answer.text()


async def _stops(client):
    async with client.http.get(client.base + "/gateway/ready") as answer:
        return answer.status == 503 and "the gateway is stopping" in (await answer.json())["reasons"]


async def _has_ended(client, jobs):
    history = await client.get("/history")
    return all(job in history for job in jobs)
