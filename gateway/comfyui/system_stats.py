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
    runner. Several are numbered anew, those too that have no index of their own (the CPU has none): the frontend makes
    a tab of each and knows them by it (SystemStatsPanel.vue). A single one is told as its runner tells it.
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
    if len(devices) > 1:
        devices = [{**device, "index": place} for place, device in enumerate(devices)]
    return {"system": system, "devices": devices}
