"""Shares of GPU time, and how a waiting line is ordered by them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as some

from gateway.scheduling.fairness import Shares
from gateway.scheduling.needs import Needs
from gateway.scheduling.waiting import Waiting, WaitingLine

PLAIN = Needs(frozenset(), frozenset(), frozenset())
OTHER = Needs(frozenset(), frozenset({"Other"}), frozenset())


def waiting(seq, owner="", client="", **more):
    return Waiting(str(seq), more.pop("number", seq), seq, more.pop("needs", PLAIN), owner=owner, client=client, **more)


def serve(line, count, seconds=1.0, fits=lambda needs, refused: True):
    """Gives out jobs one after the other, as a single runner would; each takes what was expected."""
    served = []
    for _ in range(count):
        job = line.first(fits)
        line.shares.begin(*job.flow, seconds * job.work, job.weight)
        line.give_out(job.job_id, 0.0)
        served.append(job)
    return served


def test_one_client_is_served_by_number():
    line = WaitingLine()
    for seq, number in enumerate([3, 1, -2, 2]):
        line.add(waiting(seq, number=number))
    assert [job.number for job in serve(line, 4)] == [-2, 1, 2, 3]


def test_a_flood_does_not_keep_another_waiting():
    line = WaitingLine()
    for seq in range(100):
        line.add(waiting(seq, "flood"))
    serve(line, 40)
    line.add(waiting(200, "small"))
    assert serve(line, 1)[0].owner == "small"


def test_clients_of_one_owner_take_turns_and_have_only_its_share():
    line = WaitingLine()
    for seq in range(90):
        line.add(waiting(seq, "a", "one"))
        line.add(waiting(1000 + seq, "a", "two"))
        line.add(waiting(2000 + seq, "b", "three"))
    clients = Counter(job.client for job in serve(line, 120))
    assert clients == {"one": 30, "two": 30, "three": 60}


@pytest.mark.parametrize("weight", [2.0, 3.0, 0.5])
def test_weights_are_shares_of_time(weight):
    line = WaitingLine()
    for seq in range(400):
        line.add(waiting(seq, "heavy", weight=weight, work=1 + seq % 3))
        line.add(waiting(1000 + seq, "light", work=2.0))
    time = Counter()
    for job in serve(line, 240):
        time[job.owner] += job.work
    assert time["heavy"] / time["light"] == pytest.approx(weight, rel=0.05)


def test_time_counts_and_not_jobs():
    line = WaitingLine()
    for seq in range(200):
        line.add(waiting(seq, "long", work=9.0))
        line.add(waiting(1000 + seq, "short", work=1.0))
    served = Counter(job.owner for job in serve(line, 100))
    assert served["short"] == pytest.approx(90, abs=2)


def test_what_a_job_took_in_truth_is_settled():
    shares = Shares()
    shares.enter("a", "")
    shares.enter("b", "")
    shares.begin("a", "", 1.0, 1.0)
    shares.begin("b", "", 1.0, 1.0)
    shares.settle("a", "", 9.0, 1.0)
    assert shares.tags("a", "") > shares.tags("b", "")
    shares.settle("b", "", -0.5, 1.0)
    assert shares.tags("b", "")[0] == 1.0, "tags do not fall"
    shares.begin("b", "", 1.0, 1.0)
    assert shares.tags("b", "")[0] == 1.5, "the credit is used up"
    shares.settle("b", "", -5.0, 1.0)
    shares.begin("b", "", 1.0, 1.0)
    assert 1.5 < shares.tags("b", "")[0] < 1.7, "whoever is served moves on"


def test_nobody_saves_up_while_away():
    shares = Shares()
    shares.enter("busy", "")
    for _ in range(50):
        shares.begin("busy", "", 1.0, 1.0)
    shares.enter("away", "")
    assert shares.tags("away", "")[0] == 49.0


def test_who_is_done_is_forgotten():
    shares = Shares()
    for number in range(3000):
        shares.enter(f"owner-{number}", "c")
        shares.begin(f"owner-{number}", "c", 1.0, 1.0)
        shares.leave(f"owner-{number}", "c")
        shares.enter("other", "")
        shares.begin("other", "", 2.0, 1.0)
        shares.leave("other", "")
        shares.settle(f"owner-{number}", "c", 0.0, 1.0)
    assert len(shares._owners.flows) < 250
    assert len(shares._clients) < 500


def test_who_waits_is_never_forgotten():
    shares = Shares()
    for number in range(1000):
        shares.enter("", f"client-{number}")
    shares.begin("", "client-7", 5.0, 1.0)
    for number in range(5000):
        shares.begin("", f"once-{number}", 1.0, 1.0)
    assert shares.tags("", "client-7")[1] == 5.0
    for number in range(1000):
        shares.leave("", f"client-{number}")


def test_priority_goes_first():
    line = WaitingLine()
    line.add(waiting(1, "a"))
    line.add(waiting(2, "b", priority=5))
    line.add(waiting(3, "b", priority=-5))
    assert [job.job_id for job in line] == ["2", "1", "3"]
    assert [job.job_id for job in serve(line, 3)] == ["2", "1", "3"]


def test_an_owner_who_may_not_start_another_is_passed_over():
    line = WaitingLine()
    line.add(waiting(1, "a"))
    line.add(waiting(2, "b"))
    line.may_start = lambda owner: owner != "a"
    assert line.first(lambda *_: True).job_id == "2"
    assert [each.head for each in line.lines(0.0, lambda *_: frozenset())] == ["2"]
    line.may_start = lambda owner: True
    assert line.first(lambda *_: True).job_id == "1"


@given(some.lists(some.tuples(some.sampled_from("ab"), some.sampled_from("xyz"), some.integers(-3, 3)), max_size=30))
def test_positions_are_the_order_in_which_a_single_runner_takes_them(jobs):
    line = WaitingLine()
    for seq, (owner, client, number) in enumerate(jobs):
        line.add(waiting(seq, owner, client, number=number))
    order = [job.job_id for job in line]
    assert [line.position(job_id) for job_id in order] == list(range(len(jobs)))
    assert [job.job_id for job in serve(line, len(jobs))] == order


@given(
    some.lists(some.tuples(some.sampled_from("ab"), some.sampled_from("xy"), some.booleans()), max_size=40),
    some.randoms(),
)
def test_heads_are_those_of_a_walk_whatever_comes_and_goes(jobs, random):
    line, naive = WaitingLine(), {}
    for seq, (owner, client, is_other) in enumerate(jobs):
        job = waiting(seq, owner, client, number=random.randint(-5, 5), needs=OTHER if is_other else PLAIN)
        line.add(job)
        naive[job.job_id] = job
        if random.random() < 0.5:
            needs = random.choice([PLAIN, OTHER])
            found = line.first(lambda kind, _, needs=needs: kind == needs)
            mine = [job for job in naive.values() if job.needs == needs]
            key = lambda job: (*line.shares.tags(*job.flow), *job.due)  # noqa: E731
            assert found == min(mine, key=key, default=None)
            if found is not None:
                line.shares.begin(*found.flow, random.random() * 3, found.weight)
                line.give_out(found.job_id, 0.0)
                del naive[found.job_id]
