"""One run: runners, a gateway that may be killed, clients, and the steps of a schedule carried out on them."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import structlog
from chaos import storage
from chaos.aftermath import Aftermath
from chaos.clients import ChaosClient, Submission, chosen_id
from chaos.configuration import configured
from chaos.inputs import Colour, colour_of, upload_of
from chaos.life import Life, bury
from chaos.schedule import CLIENTS, MODES, RUNNERS, VERSIONS, Step
from chaos.storage import StorageTrouble
from support.processes import free_ports

from gateway.config import Config
from gateway.jobs.states import AttemptState
from gateway.simulator import Simulator, SimulatorOptions

KILL_SECONDS = 0.2  # a gateway whose moment does not come is killed then
REST_SECONDS = 20.0
STILL_SECONDS = 0.16  # how long everything must be at rest: three health checks
POLL_SECONDS = 0.02
IMAGES = frozenset({"upload", "overwrite", "output"})
NOISE = frozenset({"link.not_open", "runner.catalogue", "session.connected", "session.disconnected", "log.configured"})


class World:
    """``timeline`` has everything that happened, as (seconds, who, what)."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.timeline: list[tuple[float, str, str]] = []
        self.errors: list[str] = []
        self.in_doubt: set[str] = set()
        self.statuses: set[int] = set()
        self.revived = 0
        self._rng = random.Random(seed)
        self._folder = folder
        self._began = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._counts: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._moment: tuple[str, int] | None = None  # at which the gateway is killed
        self._lifted = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._locks = [asyncio.Lock() for _ in range(RUNNERS)]
        self._gateway_lock = asyncio.Lock()
        self._is_starting = False
        self._lives: list[Life] = []
        self._port = 0
        self._seeds = 0
        self._storage = StorageTrouble(folder / "gateway.db")
        self._moves: dict[int, str] = {}  # what the operator's list of runners says of each
        self._uploads: dict[str, set[Colour]] = {}
        self._unstored: set[str] = set()
        self.submissions: list[Submission] = []
        self.simulators = [
            Simulator(
                SimulatorOptions(name=f"gpu-{number}", port=port, version=VERSIONS[number], draw=False, preview_size=16)
            )
            for number, port in enumerate(free_ports(RUNNERS))
        ]
        modes = random.Random(f"modes of {seed}")
        self.clients = [ChaosClient(number, self._base, self.note, modes.choice(MODES)) for number in range(CLIENTS)]

    # what is observed

    def note(self, who: str, what: str) -> None:
        """A line of the timeline."""
        self.timeline.append((time.monotonic() - self._began, who, what))
        if what.startswith("submitted"):
            self.seen("answered")

    def seen(self, event: str) -> None:
        """Counts an event; from any thread. In the gateway's own, this may be the moment at which it is killed."""
        self._counts[event] += 1
        if self._moment is not None and self._counts[event] >= self._moment[1] and event == self._moment[0]:
            self._moment = None
            if self._lives and threading.current_thread().name == f"life {self._lives[-1].number}":
                self._lives[-1].kill_at_once()
        self._loop.call_soon_threadsafe(self._changed.set)

    def log(self, _logger: Any, level: str, entry: dict[str, Any]) -> dict[str, Any]:
        """A processor of structlog: the gateway's log is part of the timeline."""
        who = threading.current_thread().name
        if not who.startswith("life") or not any(life.is_running_here for life in self._lives):
            raise structlog.DropEvent
        event = str(entry.pop("event"))
        if event in ("job.state", "attempt.state"):
            self.seen(f"{event.partition('.')[0]}.{entry['state']}")
        if entry.get("state") == AttemptState.IN_DOUBT.value or event == "attempt.in_doubt":
            self.in_doubt.add(str(entry["job"]))
        error = entry.pop("exc_info", None)
        told = " ".join(f"{key}={value}" for key, value in entry.items() if value is not None)
        if event not in NOISE:
            self.note(who, f"{event} {told}")
        if event == "job.end_not_yet_stored":
            self._unstored.add(str(entry["job"]))
        is_expected = self._storage.happened and event in storage.SAYS
        if level in ("error", "critical", "exception") and not is_expected:
            self.errors.append(f"{event} {told}")
            if error:
                import traceback

                self.errors.append(traceback.format_exc())
        raise structlog.DropEvent

    # the run

    async def run(self, steps: list[Step]) -> Aftermath:
        """Carries the schedule out, lifts every fault, waits for rest, and looks."""
        for simulator in self.simulators:
            await simulator.start()
        try:
            await self._live()
            for client in self.clients:
                await client.start()
            await self._until(self._all_ready, "all runners are ready")
            for step in steps:
                await self._come(step)
                self.note("schedule", str(step))
                self._spawn(getattr(self, f"_do_{step.do}")(**step.with_))
            self._lifted.set()
            await self._join(self._tasks)
            self.note("schedule", "everything is lifted")
            return await self._aftermath()
        finally:
            await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for client in self.clients:
            with suppress(AttributeError):
                await client.stop()
        for simulator in self.simulators:
            await simulator.close()
        self._storage.unlock()
        if self._lives and self._lives[-1].is_alive:
            await self._lives[-1].kill()
        await asyncio.to_thread(bury, self._lives)

    async def _come(self, step: Step) -> None:
        wanted = self._counts[step.event] + step.count
        with suppress(TimeoutError):
            async with asyncio.timeout(step.at_most):
                while self._counts[step.event] < wanted:
                    self._changed.clear()
                    await self._changed.wait()

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)

    async def _join(self, tasks: set[asyncio.Task[Any]]) -> None:
        _, late = await asyncio.wait(tasks, timeout=REST_SECONDS)
        self.errors += [f"a step does not end: {task.get_coro()}" for task in late]
        await asyncio.gather(*(tasks - late))

    async def _lasts(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._lifted.wait(), seconds)

    # the gateway

    def _base(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def _live(self) -> None:
        number = len(self._lives) + 1
        moves = dict(self._moves)
        life = Life(number, self._config(), lambda text: self.errors.append(f"life {number}: {text}"))
        self._lives.append(life)
        self._is_starting = True  # a gateway that cannot open its database says so and does not start
        self._storage.unlock()
        try:
            await life.start()
        finally:
            self._is_starting = False
        self._port = life.port
        self.note("schedule", f"life {number} begins")
        if moves != self._moves:  # while it was starting
            await self._reload()

    def _config(self) -> Config:
        return configured(self._port, self._folder, self.simulators, self._moves)

    async def _do_operate(self, runner: int, move: str, seconds: float) -> None:
        """The list of runners is changed and read again, and later changed back."""
        self._moves[runner] = move
        await self._reload()
        await self._lasts(seconds)
        self._moves.pop(runner, None)
        await self._reload()

    async def _reload(self) -> None:
        life, runners = self._lives[-1], self._config().runners
        self.note(
            "operator", ", ".join(f"gpu-{runner}: {move}" for runner, move in self._moves.items()) or "all as was"
        )
        await life.run(lambda rooms: rooms.fleet.apply(runners))

    # storage

    async def _do_fill_disk(self, pages: int, seconds: float) -> None:
        life = self._lives[-1]
        await self._storage.fill(life, pages=pages)
        await self._lasts(seconds)
        await self._storage.make_room(life)
        self.note("storage", "the disk has room again")

    async def _do_lock_database(self, seconds: float) -> None:
        while (self._is_starting or not self._storage.lock()) and not self._lifted.is_set():
            await asyncio.sleep(0.002)
        await self._lasts(seconds)
        self._storage.unlock()
        self.note("storage", "the database is not locked any more")

    async def _do_kill_gateway(self, event: str, count: int, down: float) -> None:
        async with self._gateway_lock:
            life = self._lives[-1]
            self._moment = (event, self._counts[event] + count)
            with suppress(TimeoutError):
                async with asyncio.timeout(KILL_SECONDS):
                    while not life.is_dead and not self._lifted.is_set():
                        await asyncio.sleep(0.002)
            self._moment = None
            await life.kill()
            self.note("schedule", f"life {life.number} killed")
            await self._lasts(down)
            await self._live()

    # runners

    async def _do_restart(self, runner: int, forget: bool, down: float) -> None:
        async with self._locks[runner]:
            await self.simulators[runner].die()
            await self._lasts(down)
            await self.simulators[runner].restart(forget=forget)
            self.revived += not forget
            self.note(f"gpu-{runner}", "is back")

    async def _do_die_inside(self, runner: int, after: int, down: float) -> None:
        simulator = self.simulators[runner]
        async with self._locks[runner]:
            simulator.faults.die_after = after
            with suppress(TimeoutError):
                await asyncio.wait_for(simulator.died.wait(), 0.3)
            simulator.faults.die_after = None
            if simulator.died.is_set():
                self.note(f"gpu-{runner}", "has died inside a job")
                await self._lasts(down)
                await simulator.restart(forget=True)
                self.note(f"gpu-{runner}", "is back")

    async def _do_wedge(self, runner: int, after: int, seconds: float, forget: bool) -> None:
        simulator = self.simulators[runner]
        async with self._locks[runner]:
            simulator.faults.wedge_after = after
            await self._lasts(seconds)
            simulator.faults.wedge_after = None
            if simulator.state.wedged is not None:
                self.note(f"gpu-{runner}", "was wedged")
                await simulator.restart(forget=forget)
                self.revived += not forget

    async def _do_drop(self, runner: int) -> None:
        self.simulators[runner].drop_websockets()

    async def _do_partition(self, runner: int, seconds: float) -> None:
        async with self._locks[runner]:
            await self.simulators[runner].refuse()
            await self._lasts(seconds)
            await self.simulators[runner].accept()
            self.note(f"gpu-{runner}", "can be reached again")

    async def _do_hold(self, runner: int, after: int, seconds: float) -> None:
        async with self._locks[runner]:
            self.simulators[runner].pause(after)
            await self._lasts(seconds)
            self.simulators[runner].resume()

    async def _do_lose_replies(self, runner: int, count: int) -> None:
        self.simulators[runner].faults.lose_prompt_replies = count

    async def _do_switch(self, runner: int, seconds: float, **switches: Any) -> None:
        async with self._locks[runner]:
            self.simulators[runner].faults.update(switches)
            self.statuses.add(switches.get("status", 200))
            await self._lasts(seconds)
            self.simulators[runner].faults.clear()

    # clients

    async def _do_submit(self, client: int, count: int, kind: str, named: str | None, order: str | None) -> None:
        await asyncio.gather(*(self._submit(client, kind, named, order) for _ in range(count)))

    async def _submit(self, client: int, kind: str, named: str | None, order: str | None) -> None:
        self._seeds += 1
        seed = self._seeds
        if kind == "cached" and self.submissions:
            seed = self._pick(self.submissions, seed).seed
        image = await self._image(client, kind, seed)
        if image is None and kind in IMAGES:
            kind = "valid"
        job = None
        if named == "again":
            job = self._pick(self.submissions, seed).job if self.submissions else None
        elif named is not None:
            job = chosen_id(named, self._seeds)
        submission = Submission(seed, kind, client, job, chosen=job is not None, image=image)
        self.submissions.append(submission)
        number = {"number": self._rng.randint(-5, 5)} if order == "number" else {}
        await self.clients[client].submit(submission, {"front": True} if order == "front" else number)

    async def _image(self, client: int, kind: str, seed: int) -> str | None:
        """The input that a prompt of this kind names, brought to the gateway or looked for there."""
        if kind == "output":
            done = [each for each in self.submissions if each.accepted]
            return await self.clients[client].picture_of(str(self._pick(done, seed).job)) if done else None
        if kind not in IMAGES:
            return None
        wanted, picture = upload_of(seed, overwrite=kind == "overwrite")
        if kind == "overwrite":
            self._uploads.setdefault(wanted, set()).add(colour_of(picture))  # there even if no answer comes
        name = await self.clients[client].upload(seed, overwrite=kind == "overwrite")
        if name is not None:
            self._uploads.setdefault(name, set()).add(colour_of(picture))
        return name

    async def _do_cancel(self, client: int, which: int) -> None:
        submission = self._accepted(which)
        if submission is not None:
            submission.asked_to_end.add("cancel")
            found = await self.clients[client].post(f"/api/jobs/{quote(str(submission.job), safe='')}/cancel", {})
            self.note(f"client-{client}", f"cancel {submission.job}: {found}")

    async def _do_delete(self, client: int, which: int) -> None:
        submission = self._accepted(which)
        if submission is not None:
            submission.asked_to_end.add("delete")
            found = await self.clients[client].post("/queue", {"delete": [submission.job]})
            self.note(f"client-{client}", f"delete {submission.job}: {found}")

    async def _do_interrupt(self, client: int, which: int) -> None:
        submission = self._accepted(which)
        if submission is not None and which % 2:
            submission.asked_to_end.add("interrupt")
            await self.clients[client].post("/interrupt", {"prompt_id": submission.job})
        else:
            for each in self.submissions:
                each.asked_to_end.add("interrupt")
            await self.clients[client].post("/interrupt", {})
        self.note(f"client-{client}", f"interrupt {submission.job if submission and which % 2 else 'all'}")

    async def _do_clear(self, client: int, which: int) -> None:
        for each in self.submissions:
            each.asked_to_end.add("delete")
        found = await self.clients[client].post("/queue", {"clear": True})
        self.note(f"client-{client}", f"clear: {found}")

    async def _do_reconnect(self, client: int, which: int) -> None:
        await self.clients[client].reconnect()

    async def _do_leave(self, client: int, which: int) -> None:
        await self.clients[client].leave()

    async def _do_read(self, client: int, which: int) -> None:
        submission = self._accepted(which)
        entry = f"/history/{quote(str(submission.job), safe='')}" if submission else "/history/x"
        paths = ["/queue", "/history", "/api/jobs", entry]
        found = await self.clients[client].get(paths[which % 4])
        if found is not None and found[0] != 200:
            self.errors.append(f"GET {paths[which % 4]} answered {found[0]}")

    def _accepted(self, which: int) -> Submission | None:
        found = [each for each in self.submissions if each.accepted]
        return found[which % len(found)] if found else None

    def _pick(self, among: list[Submission], which: int) -> Submission:
        return among[which * 7919 % len(among)]

    # rest

    async def _aftermath(self) -> Aftermath:
        after = Aftermath(self.submissions, self.clients, self.simulators, errors=self.errors, in_doubt=self.in_doubt)
        for client in self.clients:
            client._wants_socket.set()
        await self._lift()
        try:
            await self._until(self._all_ready, "all runners are ready")
            await self._until(self._is_still, "jobs, runners and clients are at rest")
        except TimeoutError as late:
            after.restless = str(late)
        after.statuses, after.revived = self.statuses, self.revived
        after.uploads, after.unstored = self._uploads, self._unstored
        after.remaining = await self._remaining()
        whole = await self.clients[0].get("/history")
        listed = json.loads(whole[1]) if whole is not None else {}
        for job in {*listed, *(each.job for each in self.submissions if each.job is not None)}:
            await self._read(job, after)
        await self._lives[-1].ask(after.look_inside)
        after.tasks_left = await self._lives[-1].stop()
        after.read_database(self._folder / "gateway.db")
        return after

    async def _lift(self) -> None:
        self._storage.unlock()
        await self._storage.make_room(self._lives[-1])
        for simulator in self.simulators:
            simulator.faults.clear()
            simulator.resume()
            if simulator.died.is_set() or simulator.state.wedged is not None:
                await simulator.restart(forget=True)
            await simulator.accept()

    async def _until(self, holds: Any, what: str) -> None:
        ends = time.monotonic() + REST_SECONDS
        held_since: float | None = None
        while True:
            missing = await holds()
            now = time.monotonic()
            held_since = None if missing else held_since or now
            if held_since is not None and (now - held_since >= STILL_SECONDS or holds == self._all_ready):
                return
            if now > ends:
                raise TimeoutError(f"never: {what}; {missing}")
            await asyncio.sleep(POLL_SECONDS)

    async def _all_ready(self) -> str:
        for simulator in self.simulators:
            if simulator.died.is_set() and self._lifted.is_set():
                await simulator.restart(forget=True)
        return await self._lives[-1].ask(
            lambda rooms: ", ".join(
                f"{each.name} {each.health.state}: {each.health.reason}" for each in rooms.pool if not each.is_ready
            )
        )

    async def _is_still(self) -> str:
        for client in self.clients:
            if not client.is_connected:
                return f"{client.sid} is not connected"
        busy = [each.options.name for each in self.simulators if each.state.queue.remaining]
        jobs = await self._lives[-1].ask(
            lambda rooms: [f"{job.id} {job.state} {job.reason}" for job in rooms.jobs.registry]
        )
        away = await self._all_ready()
        statuses = [client.sid for client in self.clients if client.remaining != 0]
        return "; ".join(str(each) for each in (busy, jobs, away, statuses) if each)

    async def _remaining(self) -> int:
        found = await self.clients[0].get("/prompt")
        return -1 if found is None else int(json.loads(found[1])["exec_info"]["queue_remaining"])

    async def _read(self, job: str, after: Aftermath) -> None:
        found = await self.clients[0].get(f"/history/{quote(job, safe='')}")
        entry = json.loads(found[1]).get(job) if found is not None and found[0] == 200 else None
        if entry is None:
            return
        after.entries[job] = entry
        items = [item for output in entry["outputs"].values() for item in output.get("images", ())]
        pictures = after.pictures.setdefault(job, [])
        for item in items:
            answer = await self.clients[0].get("/view", **item)
            pictures.append((item["filename"], *(answer or (0, b""))))
