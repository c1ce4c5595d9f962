"""How the cost of a submission grows with runners and with clients: processor time of the gateway, by which it does not
matter who shares the cores."""

from __future__ import annotations

from graphs import small, submission
from pool import Gateway, Stage, cpu_seconds
from report import Curve, Found, Row
from wire import load

RUNNERS = (1, 4, 16, 64)
CLIENTS = (1, 10, 100, 1_000)
PROMPTS = 1_500
CONNECTIONS = 32


async def measure(stage: Stage) -> Found:
    by_runners = []
    for count in RUNNERS:
        async with Stage.open(stage.folder / f"with-{count}") as own:
            runners = await own.runners(count)
            await runners.pause()
            gateway = await own.gateway(runners.all)
            await _cost(own, gateway, 3 * count + 50, CONNECTIONS)
            by_runners.append((float(count), await _cost(own, gateway, stage.some(PROMPTS), CONNECTIONS)))
    runners = await stage.runners(8)
    await runners.pause()
    gateway = await stage.gateway(runners.all)
    await _cost(stage, gateway, 100, CONNECTIONS)
    by_clients = []
    for count in CLIENTS:
        cost = await _cost(stage, gateway, stage.some(300 if count == 1 else max(PROMPTS, 2 * count)), count)
        by_clients.append((float(count), cost))
    cost = "µs of processor time for each submission"
    curves = [
        Curve("cost of a submission", "runners", cost, by_runners),
        Curve("cost of a submission", "clients", cost, by_clients),
    ]
    return Found("growth", [_row(curve) for curve in curves], curves)


async def _cost(stage: Stage, gateway: Gateway, count: int, connections: int) -> float:
    requests = [submission(small(number), f"client-{number % connections}") for number in range(count)]
    before = cpu_seconds(gateway.pid)
    await load(gateway.port, requests, stage.folder, connections)
    return (cpu_seconds(gateway.pid) - before) / count * 1e6


def _row(curve: Curve) -> Row:
    (few, first), (many, last) = curve.points[0], curve.points[-1]
    return Row(
        f"{curve.what}, {few:g} → {many:,.0f} {curve.x}",
        " → ".join(f"{y:,.0f}" for _, y in curve.points) + " µs",
        "",
        last / first,
        "no worse than linear",
        last / first <= many / few,
        "processor time for each; " + ", ".join(f"{x:,.0f}" for x, _ in curve.points) + f" {curve.x}",
    )
