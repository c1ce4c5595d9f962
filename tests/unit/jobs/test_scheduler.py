"""What policy is told of the live jobs and the pool, and what a decision costs."""

import time
from types import SimpleNamespace

import pytest
from support.room import PlayedRunner

from gateway.jobs.registry import Registry
from gateway.jobs.scheduler import Scheduler
from gateway.scheduling.needs import Needs
from gateway.scheduling.placement import Judge, RunnerView
from gateway.scheduling.waiting import Waiting
from gateway.scheduling.warm import WarmFirst

RUNNERS, JOBS, MODELS = 100, 10_000, 60


class Pool(dict):
    def __iter__(self):
        return iter(self.values())


@pytest.fixture
def scheduler():
    """A hundred runners, all but two of them full, and ten thousand waiting jobs of many owners and models."""
    clock = SimpleNamespace(monotonic=lambda: 1_000.0, wall_ms=lambda: 1_000_000)
    registry = Registry(None, clock, None)
    pool = Pool({f"gpu-{number}": PlayedRunner(f"gpu-{number}") for number in range(RUNNERS)})
    scheduler = Scheduler(registry, pool, clock, WarmFirst(), Judge())
    for number in range(RUNNERS):
        scheduler.memory.put_load(f"model-{number % MODELS}", 8.0)
        scheduler.memory.ran(f"gpu-{number}", frozenset({f"model-{number % MODELS}"}), {})
    for number in range(JOBS):
        model = f"model-{number % MODELS}"
        needs = Needs(frozenset(), frozenset({"KSampler"}), frozenset({("Loader", "name", model)}), frozenset({model}))
        owner, client = f"owner-{number % 97}", f"client-{number % 331}"
        registry.waiting.add(
            Waiting(str(number), number, number, needs, owner=owner, client=client, work=1.0 + number % 3, since=990.0)
        )
    return scheduler


def views(free):
    return [
        RunnerView(
            name=f"gpu-{number}",
            tags=frozenset(),
            is_up=True,
            is_active=True,
            state="ready: ",
            catalogue=None,
            catalogue_version=1,
            capacity=2,
            held=0 if number in free else 2,
            busy=0 if number in free else 2,
            latency=0.001,
        )
        for number in range(RUNNERS)
    ]


def fastest(work, times=15):
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def test_a_decision_among_ten_thousand_jobs_costs_less_than_two_walks_through_them(scheduler):
    seen = views({3, 70})
    waiting = scheduler._registry.waiting
    walk = fastest(lambda: min(waiting._by_id.values(), key=lambda each: (*waiting.shares.tags(*each.flow), each.due)))
    decision = scheduler.pick(seen)
    assert decision.runner in ("gpu-3", "gpu-70")
    assert fastest(lambda: scheduler.pick(seen)) < 2 * walk


def test_a_full_pool_costs_next_to_nothing(scheduler):
    full = views(set())
    assert scheduler.pick(full) is None
    assert fastest(lambda: scheduler.pick(full)) < fastest(lambda: scheduler.pick(views({3})))


def test_a_new_job_is_weighed_and_leaves_no_trace(scheduler):
    waiting = scheduler._registry.waiting
    job = SimpleNamespace(
        id="new",
        number=1,
        seq=JOBS,
        needs=next(waiting.needs()),
        refused_by={},
        lane=None,
        owner="late",
        client_id=None,
        options=SimpleNamespace(runs_alone=False, priority=9, weight=1.0),
        work=1.0,
        waits_since=0.0,
    )
    assert scheduler.place(job, views({0}), frozenset()) == "gpu-0"
    assert scheduler.place(job, views({1}), frozenset({"gpu-1"})) is None
    assert "new" not in waiting
    assert len(waiting) == JOBS
