"""The state of one simulated runner and its worker, which runs prompts. No HTTP and no sockets of its own: `server`."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from gateway.simulator.catalogue import Catalogue
from gateway.simulator.execution import Executor
from gateway.simulator.faults import Faults, RunnerDied, WorkerDied
from gateway.simulator.folders import Folders
from gateway.simulator.gpu import Gpu
from gateway.simulator.logs import Logs
from gateway.simulator.nodes import Equipment
from gateway.simulator.options import SimulatorOptions
from gateway.simulator.personality import personality_of
from gateway.simulator.pictures import Pictures
from gateway.simulator.prompt_queue import PromptQueue
from gateway.simulator.sockets import Sockets

logger = logging.getLogger(__name__)


class RunnerState:
    """Everything that a real server holds in its process; a restart that forgets makes a new one."""

    def __init__(self, options: SimulatorOptions, faults: Faults, folders: Folders, executed: list[str]) -> None:
        self.options = options
        self.faults = faults
        self.folders = folders
        self.executed = executed
        self.personality = personality_of(options.version)
        self.sockets = Sockets(faults)
        self.queue = PromptQueue(self.tell_status)
        self.logs = Logs(self.sockets, self.personality.log_prefix)
        self.gpu = Gpu(faults, speed=options.speed, load_seconds=options.load_seconds, models_kept=options.models_kept)
        pictures = Pictures(options.name, draw=options.draw, preview_size=options.preview_size)
        self.catalogue = Catalogue(
            modern=self.personality.modern,
            extra=options.extra_nodes,
            models=options.model_files,
            folders=folders,
        )
        self.executor = Executor(
            personality=self.personality,
            catalogue=self.catalogue,
            equipment=Equipment(self.gpu, pictures, folders, options.seconds_per_node, options.seconds_per_step),
            sockets=self.sockets,
            faults=faults,
        )
        self.number = 0
        """Counter of POST /prompt."""
        self.port = 0
        self.web_root = folders.base
        self.wedged: str | None = None
        """Why the worker is dead, if it is."""
        self._flags: set[str] = set()

    @property
    def feature_flags(self) -> dict[str, Any]:
        """What the server can do, as it tells clients."""
        return {**self.personality.feature_flags, "max_upload_size": self.options.max_upload_size}

    def queue_info(self) -> dict[str, Any]:
        """GET /prompt."""
        return {"exec_info": {"queue_remaining": self.queue.remaining}}

    def tell_status(self) -> None:
        """Send the length of the queue to everyone."""
        self.sockets.send("status", {"status": self.queue_info()})

    def executions(self, prompt_ids: Iterable[str] | None = None) -> dict[str, int]:
        """How often each prompt ran to completion."""
        counts = Counter(self.executed)
        return dict(counts) if prompt_ids is None else {prompt_id: counts[prompt_id] for prompt_id in prompt_ids}

    def free(self, *, unload_models: bool, free_memory: bool) -> None:
        """POST /free: takes effect when the running prompt has ended."""
        if unload_models or free_memory:
            self._flags.add("unload")
        if free_memory:
            self._flags.add("reset")
        if not self.queue.running:
            self._free_now()

    def _free_now(self) -> None:
        if "unload" in self._flags:
            self.gpu.unload_all()
        if "reset" in self._flags:
            self.executor.reset()
        self._flags.clear()

    def revive(self) -> None:
        """Make the state fit for a new worker: what ran is pending again."""
        self.wedged = None
        self.executor.last_node_id = None
        self.queue.requeue_running()

    async def work(self, died: Callable[[], None]) -> None:
        """Run prompts for ever, or until the worker dies; `died` is called if the whole runner is to go down."""
        try:
            while True:
                await self._next_prompt()
                # A runner without work to do in time would otherwise never let its server breathe.
                await asyncio.sleep(0)
        except WorkerDied as error:
            self.wedged = str(error)
            logger.info("%s: the worker died: %s", self.options.name, error)
        except RunnerDied:
            died()

    async def _next_prompt(self) -> None:
        key, item = await self.queue.get()
        started = asyncio.get_running_loop().time()
        prompt_id = item[1]
        entry = await self.executor.execute(item)
        if entry["status"]["completed"]:
            self.executed.append(prompt_id)
        self.queue.done(key, entry)
        if self.executor.client_id is not None:
            self.sockets.send("executing", {"node": None, "prompt_id": prompt_id}, self.executor.client_id)
        seconds = asyncio.get_running_loop().time() - started
        self.logs.write(f"Prompt executed in {seconds:.2f} seconds", green=True)
        self._free_now()
