"""The configuration of a run, with what the operator has changed in the list of runners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway.config import Config
from gateway.simulator import Simulator


def configured(port: int, folder: Path, simulators: Sequence[Simulator], moves: Mapping[int, str]) -> Config:
    """``moves``: what is different of a runner, by its number; see ``schedule.MOVES``."""
    return Config.model_validate(
        {
            "server": {"port": port},
            "data_dir": folder,
            "database": {"synchronous": "normal"},
            "frontend": {"source": "none"},
            "health": {
                "interval_seconds": 0.05,
                "timeout_seconds": 0.2,
                "grace_seconds": 0.3,
                "connect_seconds": 0.2,
                "stuck_seconds": 0.4,
            },
            "dispatch": {"post_timeout_seconds": 0.3},
            "failover": {"drain_seconds": 0.2},
            "runners": [
                _entry(simulator, moves.get(number))
                for number, simulator in enumerate(simulators)
                if moves.get(number) != "removed"
            ],
        }
    )


def _entry(simulator: Simulator, move: str | None) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": simulator.options.name, "endpoint": simulator.url}
    if move in ("disabled", "drain"):
        entry["status"] = move
    elif move == "endpoint":  # another name of the same server
        entry["endpoint"] = f"http://localhost:{simulator.port}"
    elif move == "headers":
        entry["headers"] = {"X-Room": "7"}
    elif move == "prefetch":
        entry["prefetch"] = 3
    return entry
