"""``kill -9`` of the gateway again and again while prompts come in: nothing is lost, nothing is run twice. ``--kills``
says how often; ``make kills`` runs a hundred. The moments are drawn from a seed and are events, not delays."""

import asyncio
import random
from dataclasses import dataclass, field

import aiohttp
import pytest
from support.client import Client
from support.graphs import save_graph
from support.png import seed_of
from support.processes import child, gateway_process, runner_processes, until, write_config

RUNNERS = 3
SUBMITTERS = 6
WAITING_MOST = 60  # prompts that the submitters let wait, so that a run of many kills ends soon after its last one
ANSWERS_BETWEEN_KILLS = (1, 25)
SEED = 7


@dataclass
class Flood:
    """Clients that submit under ids of their own, and submit again what got no answer."""

    url: str
    accepted: dict[str, int] = field(default_factory=dict)  # seeds by prompt id
    repeated: int = 0
    is_over: bool = False
    answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, number: int) -> None:
        async with aiohttp.ClientSession() as http:
            seed = number * 1_000_000
            while not self.is_over:
                await self._submit_until_accepted(http, f"00000000-0000-4000-8000-{seed:012}", seed)
                seed += 1
                await until(lambda: self._has_room(http), "the queue is shorter")

    async def _submit_until_accepted(self, http: aiohttp.ClientSession, prompt_id: str, seed: int) -> None:
        """A second submission of what had been accepted is refused as known; anything else would run it twice."""
        body = {"prompt": save_graph(seed, steps=1, seconds=0.01), "prompt_id": prompt_id}
        for attempt in range(100_000):
            try:
                async with http.post(f"{self.url}/prompt", json=body) as response:
                    answer = await response.json()
                    if response.status == 503:  # no runner is connected yet, and none is known
                        continue
                    known = answer.get("error", {}).get("type") == "duplicate_prompt_id"
                    assert response.status == 200 or (attempt > 0 and known), (response.status, answer)
            except (aiohttp.ClientError, OSError):
                self.repeated += attempt == 0
                await asyncio.sleep(0.02)  # nobody listens: another process has no event to wait for
                continue
            self.accepted[prompt_id] = seed
            self.answer.set()
            return

    async def _has_room(self, http: aiohttp.ClientSession) -> bool:
        try:
            async with http.get(f"{self.url}/prompt") as response:
                return bool((await response.json())["exec_info"]["queue_remaining"] < WAITING_MOST) or self.is_over
        except (aiohttp.ClientError, OSError):
            return self.is_over

    async def more_accepted(self, count: int) -> None:
        """Waits until so many more prompts have been answered with 200."""
        enough = len(self.accepted) + count
        while len(self.accepted) < enough:
            self.answer.clear()
            await self.answer.wait()


@pytest.mark.timeout(3_600)
async def test_many_kills(tmp_path, request):
    kills, moments = request.config.getoption("--kills"), random.Random(SEED)
    async with runner_processes(tmp_path, RUNNERS) as runners:
        config = write_config(tmp_path, runners, queue={"max_pending": 100_000}, log={"level": "warning"})
        async with gateway_process(config) as gateway:
            flood = Flood(gateway.url)
            tasks = [asyncio.create_task(flood.run(number)) for number in range(SUBMITTERS)]
            await flood.more_accepted(10)
            await gateway.kill()
        for number in range(1, kills):
            alive = "/gateway/health" if number % 5 == 0 else "/gateway/ready"
            async with child(
                gateway.url, tmp_path / "gateway.log", *("gateway", "serve", "--config", str(config)), alive=alive
            ) as life:
                if number % 5:  # every fifth is killed as soon as it answers anything: in the middle of finding out
                    await flood.more_accepted(moments.randint(*ANSWERS_BETWEEN_KILLS))
                await life.kill()
        async with gateway_process(config) as gateway, Client.connected(gateway.url) as client:
            await flood.more_accepted(1)
            flood.is_over = True
            await asyncio.gather(*tasks)
            await until(lambda: _is_idle(client), "all jobs have ended")
            await _check(client, runners, flood, kills)


async def _is_idle(client: Client) -> bool:
    return bool((await client.get("/prompt"))["exec_info"]["queue_remaining"] == 0)


async def _check(client, runners, flood, kills) -> None:
    """Each accepted prompt was executed once, and its picture is its own; nothing else was executed."""
    executed = [graph["2"]["inputs"]["seed"] for runner in runners for graph in await runner.executed()]
    entries = await client.get("/history")
    wrong = [
        prompt_id
        for prompt_id, seed in flood.accepted.items()
        if seed_of(await client.view(**entries[prompt_id]["outputs"]["3"]["images"][0])) != seed
    ]
    print(  # noqa: T201  the figures of docs/operations.md
        f"{kills} kills: {len(flood.accepted)} prompts accepted ({flood.repeated} submitted again), "
        f"{len(flood.accepted.keys() - entries.keys())} lost, {len(executed) - len(set(executed))} run twice, "
        f"{len(wrong)} with a wrong picture"
    )
    assert not wrong
    assert entries.keys() == flood.accepted.keys()
    assert all(entry["status"]["completed"] for entry in entries.values())
    assert sorted(executed) == sorted(flood.accepted.values())
