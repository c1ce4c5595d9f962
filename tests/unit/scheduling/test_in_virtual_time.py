"""The policy at work in virtual time: what the benches measure, small enough for every day, and what always holds."""

import dataclasses
import statistics
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

sys.path.insert(0, str(Path(__file__).parents[3] / "bench"))

import fairness
import placement
from policies import Bound, Ours
from virtual import Job, Pool

from gateway.scheduling.warm import WarmFirst


def response(mix, policy, load_seconds):
    jobs = dataclasses.replace(mix, jobs=800).arrivals(1)
    pool = Pool(mix.speeds, mix.kept, {f"model-{rank:02}": load_seconds for rank in range(mix.models)})
    pool.run(jobs, policy)
    return statistics.mean(job.ended - job.arrived for job in jobs)


@pytest.mark.parametrize("mix", placement.MIXES, ids=lambda mix: f"{mix.models} models {mix.kept} kept")
def test_what_knows_models_stays_near_the_bound_and_what_does_not_falls_behind(mix):
    bound = response(mix, Bound(), 0.0)
    assert response(mix, Ours(), mix.load_seconds) < 6 * bound
    assert response(mix, placement.POLICIES["least queue, by speed"](), mix.load_seconds) > 20 * bound


def test_a_visitor_beside_a_flood_begins_within_one_job():
    late = fairness.flood_and_visitor(jobs=300)
    assert late
    assert max(late) <= fairness.LENGTH


def test_a_visitor_whose_model_is_loaded_nowhere_waits_for_little_more_than_loading():
    assert max(fairness.flood_and_visitor(jobs=300, models=("a", "b"))) < 8.0 + fairness.LENGTH


def test_weights_are_shares_of_gpu_time_though_jobs_take_longer_than_expected():
    had = fairness.shares({"heavy": 3.0, "light": 1.0}, seconds=200)
    assert had["heavy"] / had["light"] == pytest.approx(3.0, rel=0.05)


class Watched(Ours):
    """Notes for how long each line was passed over at most, of the runs in which jobs come faster than they go."""

    longest = 0.0

    def snapshot(self, pool, prefetch=0):
        found = super().snapshot(pool, prefetch)
        self.longest = max([self.longest, *(line.unserved for line in found.lines)])
        return found


@settings(max_examples=15, deadline=None)
@given(
    some.lists(some.tuples(some.integers(0, 5), some.floats(0.5, 4.0)), min_size=60, max_size=200),
    some.integers(1, 3),
    some.integers(1, 2),
    some.floats(0.1, 1.0),
    some.integers(0, 2),
    some.sampled_from([0.1, 2.0, 20.0]),
)
def test_nobody_starves(jobs, runners, kept, apart, prefetch, lead):
    """A line is served within its patience, and then once for each line that is late too: a switch, the residence
    before it, a job under way, and those that were given ahead."""
    policy, load, longest_job = WarmFirst(patience_seconds=20.0), 2.0, 4.0
    arrivals = [
        Job(f"{place:04}", place * apart, work, frozenset({f"m{max(0, model - 2)}"}))
        for place, (model, work) in enumerate(jobs)
    ]
    watched = Watched(policy, prefetch, lead)
    pool = Pool([1.0] * runners, kept, {f"m{model}": load for model in range(4)})
    pool.run(arrivals, watched)
    patience = max(policy.patience_seconds, policy.patience * load)
    turn = (1 + policy.residence) * load + (2 + prefetch) * longest_job
    assert watched.longest <= patience + 4 * turn
    assert all(job.ended >= job.started >= job.arrived for job in arrivals)
