"""The simulated GPU: time that passes, models that are loaded, interrupts, and the gate where tests hold a job."""

import asyncio
from collections import OrderedDict

from gateway.simulator.faults import Faults, RunnerDied, WorkerDied


class Interrupted(Exception):
    """The running prompt was interrupted."""


class Gpu:
    """Time and models of one runner. All work of nodes goes through `work`, which is where everything can stop."""

    def __init__(self, faults: Faults, *, speed: float, load_seconds: float, models_kept: int) -> None:
        self._faults = faults
        self._speed = speed
        self._load_seconds = load_seconds
        self._models_kept = models_kept
        self._loaded: OrderedDict[str, None] = OrderedDict()
        self._units = 0
        self._interrupted = False
        self._pass: int | None = None
        self._wake = asyncio.Event()
        self._held = asyncio.Event()
        self.loads: list[str] = []
        """Every checkpoint that had to be loaded, in order."""

    @property
    def loaded(self) -> tuple[str, ...]:
        """The checkpoints in memory, least recently used first."""
        return tuple(self._loaded)

    @property
    def is_held(self) -> bool:
        """Whether a job waits at the gate."""
        return self._held.is_set()

    def begin_job(self) -> None:
        """A new prompt: an interrupt that came too late is forgotten, as in ComfyUI."""
        self._interrupted = False
        self._units = 0

    def interrupt(self) -> None:
        """Stop the running prompt at the end of its unit of work; a held one at once."""
        self._interrupted = True
        self._look_again()

    def check_interrupt(self) -> None:
        """Raise `Interrupted` if the running prompt is to stop; the interrupt is used up."""
        if self._interrupted:
            self._interrupted = False
            raise Interrupted

    def pause(self, after: int = 0) -> None:
        """Close the gate after so many further units of work; one that is held counts as the first of them."""
        self._pass = after
        self._look_again()

    def resume(self) -> None:
        """Open the gate."""
        self._pass = None
        self._look_again()

    def _look_again(self) -> None:
        self._held.clear()
        self._wake.set()

    async def held(self) -> None:
        """Wait until a job stands at the closed gate."""
        await self._held.wait()

    async def work(self, seconds: float = 0.0) -> None:
        """One unit of work of that many seconds at speed 1; then faults and the gate."""
        if seconds > 0:
            await asyncio.sleep(seconds / self._speed)
        self._fall_over()
        self._units += 1
        if self._pass is not None:
            await self._gate()

    async def load(self, checkpoint: str) -> None:
        """Have a checkpoint in memory: at once if it is there, else after the load time."""
        if checkpoint in self._loaded:
            self._loaded.move_to_end(checkpoint)
            return
        self.loads.append(checkpoint)
        await self.work(self._load_seconds)
        self._loaded[checkpoint] = None
        while len(self._loaded) > max(1, self._models_kept):
            self._loaded.popitem(last=False)

    def unload_all(self) -> None:
        """Throw every model out."""
        self._loaded.clear()

    def _fall_over(self) -> None:
        faults = self._faults
        if faults.die_after is not None and self._units >= faults.die_after:
            faults.die_after = None
            raise RunnerDied
        if faults.wedge_after is not None and self._units >= faults.wedge_after:
            faults.wedge_after = None
            raise WorkerDied("told to")

    async def _gate(self) -> None:
        while self._pass is not None and not self._interrupted:
            if self._pass > 0:
                self._pass -= 1
                return
            self._wake.clear()
            self._held.set()
            try:
                await self._wake.wait()
            finally:
                self._held.clear()
