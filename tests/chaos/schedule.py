"""What happens in one run, drawn from its seed alone: steps, each of which waits for something that can be observed.

A step waits until an event of a kind has been seen so many times since the step before it, or for ``at_most`` seconds
where it does not come, and then does one thing. Names of events are those of ``world.World.seen``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

RUNNERS = 3
VERSIONS = ("0.33.0", "0.3.64", "0.33.0")
CLIENTS = 3
STEPS = (14, 24)
KILLS_MOST = 3
MODES = ("raw", "raw", "focus", "focus", "serial")  # how a client is told
MOVES = ("disabled", "drain", "removed", "endpoint", "headers", "prefetch")  # what an operator does to a runner

# Where a gateway may be killed, and after what a step may come.
MOMENTS = (
    "posting",
    "posted",
    "commit.done",
    "commit.told",
    "attempt.held",
    "attempt.running",
    "attempt.ended",
    "attempt.withdrawn",
    "job.pending",
    "job.dispatched",
    "job.running",
    "job.completed",
)
QUIET = ("answered", "attempt.held", "attempt.running", "attempt.ended", "job.completed")

FAULT_PATHS = ("/", "/prompt", "/queue", "/history", "/object_info", "/system_stats", "/upload", "/view")
KINDS = (
    ("valid", 10),
    ("cached", 2),
    ("long", 3),
    ("invalid", 2),
    ("partly", 2),
    ("failing", 2),
    *(("upload", 2), ("overwrite", 1), ("output", 3)),
)
IDS = ((None, 8), ("uuid", 3), ("odd", 2), ("again", 1))
ORDERS = ((None, 6), ("front", 1), ("number", 1))


@dataclass(frozen=True)
class Step:
    """``event``, ``count`` and ``at_most`` (seconds) say when, ``do`` and ``with_`` what."""

    event: str
    count: int
    at_most: float
    do: str
    with_: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        told = ", ".join(f"{key}={value}" for key, value in self.with_.items())
        return f"after {self.count} × {self.event} (or {self.at_most:.2f} s): {self.do}({told})"


def _drawn(rng: random.Random, table: tuple[tuple[Any, int], ...]) -> Any:
    return rng.choices([value for value, _ in table], [weight for _, weight in table])[0]


def draw(seed: int) -> list[Step]:
    """The schedule of a seed."""
    rng = random.Random(seed)
    steps = [_step(rng, *_submit(rng)) for _ in range(2)]
    faults = rng.sample(FAULTS, k=rng.randint(1, 5))  # a run is about a few kinds of trouble, not about all of them
    for _ in range(rng.randint(*STEPS)):
        part = rng.random()
        if part < 0.4:
            steps.append(_step(rng, *_submit(rng)))
        elif part < 0.6:
            steps.append(_step(rng, *_client(rng)))
        else:
            fault = _step(rng, *rng.choice(faults)(rng))
            if fault.do != "kill_gateway" or sum(step.do == fault.do for step in steps) < KILLS_MOST:
                steps.append(fault)
    return steps


def _step(rng: random.Random, do: str, with_: dict[str, Any]) -> Step:
    return Step(rng.choice(QUIET), rng.randint(1, 3), rng.choice((0.01, 0.03, 0.08)), do, with_)


def _submit(rng: random.Random) -> tuple[str, dict[str, Any]]:
    with_ = {
        "client": rng.randrange(CLIENTS),
        "count": rng.choice((1, 1, 2, 4, 8)),
        "kind": _drawn(rng, KINDS),
        "named": _drawn(rng, IDS),
        "order": _drawn(rng, ORDERS),
    }
    return "submit", with_


def _client(rng: random.Random) -> tuple[str, dict[str, Any]]:
    do = rng.choice(("cancel", "cancel", "delete", "delete", "interrupt", "clear", "reconnect", "leave", "read"))
    return do, {"client": rng.randrange(CLIENTS), "which": rng.randrange(1000)}


def _runner(rng: random.Random, **more: Any) -> dict[str, Any]:
    return {"runner": rng.randrange(RUNNERS), **more}


def _lasting(rng: random.Random) -> float:
    return rng.choice((0.05, 0.1, 0.2, 0.5))


def _switch(**switches: Any) -> Any:
    def fault(rng: random.Random) -> tuple[str, dict[str, Any]]:
        values = {name: value(rng) if callable(value) else value for name, value in switches.items()}
        return "switch", _runner(rng, seconds=_lasting(rng), **values)

    return fault


FAULTS: tuple[Any, ...] = (
    lambda rng: ("restart", _runner(rng, forget=rng.random() < 0.7, down=rng.choice((0.0, 0.1, 0.5)))),
    lambda rng: ("restart", _runner(rng, forget=True, down=rng.choice((0.0, 0.1, 0.5)))),
    lambda rng: ("die_inside", _runner(rng, after=rng.randrange(6), down=rng.choice((0.0, 0.1, 0.5)))),
    lambda rng: ("wedge", _runner(rng, after=rng.randrange(6), seconds=_lasting(rng), forget=rng.random() < 0.7)),
    lambda rng: ("drop", _runner(rng)),
    lambda rng: ("partition", _runner(rng, seconds=_lasting(rng))),
    lambda rng: ("hold", _runner(rng, after=rng.randrange(8), seconds=_lasting(rng))),
    lambda rng: ("lose_replies", _runner(rng, count=rng.randint(1, 3))),
    lambda rng: ("kill_gateway", {"event": rng.choice(MOMENTS), "count": rng.randint(1, 4), "down": 0.02}),
    lambda rng: ("kill_gateway", {"event": rng.choice(MOMENTS), "count": rng.randint(1, 4), "down": 0.2}),
    _switch(delay=lambda rng: rng.choice((0.02, 0.2, 0.5)), path=lambda rng: rng.choice(FAULT_PATHS)),
    _switch(hang=True, path=lambda rng: rng.choice(FAULT_PATHS)),
    _switch(status=lambda rng: rng.choice((500, 502, 503, 401, 429)), path=lambda rng: rng.choice(FAULT_PATHS)),
    lambda rng: ("operate", _runner(rng, move=rng.choice(MOVES), seconds=_lasting(rng))),
    lambda rng: ("operate", _runner(rng, move=rng.choice(MOVES), seconds=_lasting(rng))),
    lambda rng: ("fill_disk", {"pages": rng.choice((0, 4)), "seconds": _lasting(rng)}),
    lambda rng: ("lock_database", {"seconds": _lasting(rng)}),
    _switch(mute_websockets=True),
    _switch(refuse_websockets=True),
)
