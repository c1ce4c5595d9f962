"""What can go wrong with a simulated runner on demand, as switches. Whoever does the thing looks at its switch.

Refusing connections, dropping sockets, dying and restarting are acts, not states: see `server.Simulator`.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class RunnerDied(Exception):
    """The whole runner is to go down, now."""


class WorkerDied(Exception):
    """The worker stops for good while HTTP stays healthy, as a thread that ComfyUI lets die."""


@dataclass(slots=True)
class NodeFailure:
    """An exception that a node class raises instead of working."""

    exception_type: str
    message: str
    times: int = 1
    """How often it still raises; negative is for ever."""


@dataclass(slots=True)
class Faults:
    """The switches; all are off at first and can be turned at any time.

    The HTTP ones (`hang`, `delay`, `status`) hold for paths that begin with `path`; a leading /api does not count, and
    the control routes are never touched.
    """

    path: str = "/"
    delay: float = 0.0
    """Seconds before a request is handled; not divided by the runner's speed."""
    status: int | None = None
    """Every answer has this status and no body."""
    lose_prompt_replies: int = 0
    """So many of the next POST /prompt are carried out, and their connection is cut instead of an answer."""
    refuse_websockets: bool = False
    """New websockets get 503."""
    mute_websockets: bool = False
    """Sockets stay open but nothing is sent any more."""
    die_after: int | None = None
    """The runner dies once a job has done so many units of work (a step, a load, a node's start)."""
    wedge_after: int | None = None
    """The worker dies at that point, behind a healthy HTTP server."""
    nodes: dict[str, NodeFailure] = field(default_factory=dict)
    """Failures by node class."""
    _hanging: asyncio.Event | None = None

    @property
    def hang(self) -> bool:
        """Whether requests are taken and never answered; they go on once it is False again."""
        return self._hanging is not None

    @hang.setter
    def hang(self, on: bool) -> None:
        if on and self._hanging is None:
            self._hanging = asyncio.Event()
        elif not on and self._hanging is not None:
            self._hanging.set()
            self._hanging = None

    def concerns(self, path: str) -> bool:
        """Whether the HTTP switches hold for this path of a request."""
        return path.removeprefix("/api").startswith(self.path) and not path.startswith("/simulator/")

    async def before_answer(self) -> None:
        """Wait as `hang` and `delay` say."""
        if self._hanging is not None:
            await self._hanging.wait()
        if self.delay > 0:
            await asyncio.sleep(self.delay)

    def fail_node(self, class_type: str, exception_type: str, message: str, times: int = 1) -> None:
        """Make a node class raise; the type is the name a client will see, such as torch.OutOfMemoryError."""
        self.nodes[class_type] = NodeFailure(exception_type, message, times)

    def failure_of(self, class_type: str) -> NodeFailure | None:
        """The failure due for a node that starts now; counts it."""
        failure = self.nodes.get(class_type)
        if failure is None or failure.times == 0:
            return None
        failure.times -= 1
        return failure

    def clear(self) -> None:
        """Everything off again; requests that hang go on."""
        self.hang = False
        fresh = Faults()
        for name in SWITCHES:
            setattr(self, name, getattr(fresh, name))
        self.nodes = {}

    def as_dict(self) -> dict[str, Any]:
        """The switches as JSON."""
        return {name: getattr(self, name) for name in (*SWITCHES, "hang")} | {
            "nodes": {
                name: {"exception_type": failure.exception_type, "message": failure.message, "times": failure.times}
                for name, failure in self.nodes.items()
            }
        }

    def update(self, switches: Mapping[str, Any]) -> None:
        """Turn the switches that are named.

        Raises:
            ValueError: a name that is no switch.
        """
        for name, value in switches.items():
            if name == "nodes":
                for class_type, failure in value.items():
                    self.fail_node(class_type, **failure)
            elif name in SWITCHES or name == "hang":
                setattr(self, name, value)
            else:
                raise ValueError(f"no such fault: {name}")


SWITCHES = (
    "path",
    "delay",
    "status",
    "lose_prompt_replies",
    "refuse_websockets",
    "mute_websockets",
    "die_after",
    "wedge_after",
)
