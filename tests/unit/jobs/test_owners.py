"""What each owner has: counted as jobs come, change and go."""

from __future__ import annotations

from gateway.jobs.states import AttemptState, JobState


def counted(room, owner):
    registry = room.registry
    return registry.remaining_of(owner), registry.taken_of_owner(owner), registry.held_of_owner(owner)


async def test_each_owners_jobs_are_counted_from_their_submission_to_their_end(room):
    await room.pending("hers", owner="bert")
    job = room.job("a", owner="anna")
    room.registry.add(job)
    assert counted(room, "anna") == (0, 1, 0)
    attempt = room.registry.new_attempt(job, "gpu-0", probe=True)
    await room.registry.store_submission(job, attempt)
    assert counted(room, "anna") == (0, 1, 0), "a probe is taken back at once"
    room.registry.turn(job, JobState.DISPATCHED)
    room.registry.turn_attempt(attempt, AttemptState.HELD)
    assert counted(room, "anna") == (1, 1, 1)
    assert room.registry.runners_of_owner("anna") == {"gpu-0"}
    room.registry.turn_attempt(attempt, AttemptState.WITHDRAWN)
    room.registry.turn(job, JobState.PENDING)
    assert counted(room, "anna") == (1, 1, 0)
    room.endings.dropped(job, "deleted")
    assert counted(room, "anna") == (0, 0, 0)
    assert counted(room, "bert") == (1, 1, 0)
    assert counted(room, "") == (0, 0, 0)


async def test_an_owners_jobs_are_shown_in_order_and_no_other_ones(room):
    for number, owner in enumerate(("anna", "bert", "anna", "anna")):
        await room.pending(str(number), owner=owner, number=-number)
    await room.running("runs", owner="anna")
    shown = room.registry.shown
    assert [job.id for job in shown(JobState.PENDING, owner="anna")] == ["3", "2", "0"]
    assert [job.id for job in shown(JobState.RUNNING, owner="anna")] == ["runs"]
    assert [job.id for job in shown(JobState.PENDING, JobState.RUNNING, owner="bert")] == ["1"]
    assert [job.id for job in shown(JobState.PENDING)] == ["3", "2", "1", "0"]
    assert shown(JobState.PENDING, owner="cleo") == []


async def test_what_owners_have_is_counted_after_a_restart(room):
    attempt = await room.held("a", owner="anna")
    again = type(room.registry)(room.db, room.clock, room.listener)
    again.add(attempt.job)
    assert (again.remaining_of("anna"), again.held_of_owner("anna")) == (1, 1)


async def test_only_those_whose_queue_changed_are_told(room):
    told = []
    room.listener.queue_changed = told.append
    jobs = [await room.pending(name, owner=owner) for name, owner in (("a", "anna"), ("b", "bert"), ("c", "anna"))]
    told.clear()
    room.endings.all_dropped(jobs, "deleted")
    assert told == ["anna", "bert"]
