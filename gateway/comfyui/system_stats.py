"""``/system_stats`` of many runners told as one machine's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SUMMED = ("ram_total", "ram_free")
MANAGER_ARGUMENTS = (
    "--enable-manager",
    "--enable-manager-legacy-ui",
)  # would switch on a page that acts on one machine


def merge(stats: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Joins the statistics of runners, given as (name, answer), the primary first.

    ``system`` is the primary's, with the memory of all added up; ``devices`` are everyone's, each named after its
    runner and numbered anew.
    """
    if not stats:
        return {"system": {}, "devices": []}
    system = dict(stats[0][1].get("system") or {})
    for key in SUMMED:
        amounts = [(answer.get("system") or {}).get(key) for _, answer in stats]
        if key in system:
            system[key] = sum(amount for amount in amounts if isinstance(amount, int))
    if isinstance(system.get("argv"), list):
        system["argv"] = [argument for argument in system["argv"] if argument not in MANAGER_ARGUMENTS]
    devices = [
        {**device, "name": f"{device.get('name')} @{name}"}
        for name, answer in stats
        for device in answer.get("devices") or ()
        if isinstance(device, dict)
    ]
    numbered = [
        {**device, "index": place if device.get("index") is not None else None} for place, device in enumerate(devices)
    ]
    return {"system": system, "devices": numbered}
