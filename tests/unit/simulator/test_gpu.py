import asyncio

import pytest

from gateway.simulator.faults import Faults, RunnerDied, WorkerDied
from gateway.simulator.gpu import Gpu, Interrupted


def make_gpu(faults: Faults | None = None, models_kept: int = 1) -> Gpu:
    gpu = Gpu(faults or Faults(), speed=1.0, load_seconds=0.0, models_kept=models_kept)
    gpu.begin_job()
    return gpu


async def test_the_gate_lets_so_many_units_through_and_then_holds() -> None:
    gpu = make_gpu()
    done: list[int] = []

    async def job() -> None:
        for unit in range(5):
            await gpu.work()
            done.append(unit)

    gpu.pause(after=2)
    task = asyncio.create_task(job())
    await gpu.held()
    assert done == [0, 1]
    gpu.pause(after=1)
    assert not gpu.is_held
    await gpu.held()
    assert done == [0, 1, 2]
    gpu.resume()
    await task
    assert done == [0, 1, 2, 3, 4]


async def test_an_interrupt_opens_the_gate_and_is_used_up() -> None:
    gpu = make_gpu()
    gpu.pause()
    task = asyncio.create_task(gpu.work())
    await gpu.held()
    gpu.interrupt()
    await task
    with pytest.raises(Interrupted):
        gpu.check_interrupt()
    gpu.check_interrupt()


async def test_an_interrupt_between_jobs_is_forgotten() -> None:
    gpu = make_gpu()
    gpu.interrupt()
    gpu.begin_job()
    gpu.check_interrupt()


async def test_models_go_in_the_order_of_their_use() -> None:
    gpu = make_gpu(models_kept=2)
    for name in ("a", "b", "a", "c"):
        await gpu.load(name)
    assert gpu.loaded == ("a", "c")
    assert gpu.loads == ["a", "b", "c"]


@pytest.mark.parametrize(("switch", "error"), [("die_after", RunnerDied), ("wedge_after", WorkerDied)])
async def test_falling_over_happens_once_after_so_many_units(switch: str, error: type[Exception]) -> None:
    faults = Faults()
    gpu = make_gpu(faults)
    setattr(faults, switch, 1)
    await gpu.work()
    with pytest.raises(error):
        await gpu.work()
    await gpu.work()
