"""A model of the dispatch protocol, small enough to go through every interleaving of it: one job, one gateway that may
be killed, one runner that may be killed, and may refuse what it validated before, one wire that may lose what it
carries.

The gateway's steps are those of ``gateway.jobs.dispatch`` and ``submission``: write the intent, post, read the answer,
write what came of it behind. Its tables of states and its decisions after a crash are the code's own. Variants of the
gateway that leave out one of the rules are shown to break the promise, so that the model is known to be able to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import pytest

from gateway.jobs.post import Fate
from gateway.jobs.recovery import as_found
from gateway.jobs.rows import may_be_accepted
from gateway.jobs.states import ENDS, OPEN_ATTEMPTS, AttemptState, JobState, check_attempt, check_job

J, A = JobState, AttemptState
ATTEMPTS_MOST = 9  # more would need more faults than there are


class Copy(StrEnum):
    """What the runner has of one attempt."""

    NONE = "none"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class Wire(StrEnum):
    """Where the POST of the newest attempt is; all but IDLE outlive whoever sent it."""

    IDLE = "idle"
    SENT = "sent"
    ANSWERED = "answered"
    REFUSED = "refused"


Stored = tuple[JobState, tuple[AttemptState, ...]]  # a job and its attempts


@dataclass(frozen=True)
class World:
    """``memory`` is None while the gateway is down; ``queue`` holds what is written behind, oldest first."""

    memory: Stored | None = (J.SUBMITTING, ())
    step: str = "new"  # of the dispatch under way
    queue: tuple[Stored, ...] = ()
    stored: Stored | None = None
    copies: tuple[Copy, ...] = ()
    wire: Wire = Wire.IDLE
    was_accepted: bool = False  # as the gateway thinks: a refusal then ends the job as failed
    answered: bool = False  # the client has its 200
    told: int = 0  # ends that the client was told
    completed: int = 0  # times that the runner ran it to its end
    gateway_kills: int = 2
    runner_kills: int = 1
    wire_losses: int = 1
    missed_events: int = 1
    refusals: int = 1


@dataclass(frozen=True)
class Rules:
    """Which rules the gateway keeps; the code keeps all of them."""

    intent_first: bool = True  # the intent is durable before the POST
    intent_before_answer: bool = False  # instead, before the client has its 200: the flush and the POST at once
    doubt_is_looked_at: bool = True  # what had no answer is not posted again before the runner was asked
    end_before_telling: bool = True  # an end is durable before it is told
    doubt_is_acceptance: bool = True  # after a crash, what may have had its 200 counts as accepted
    probes: bool = False  # the first attempt only validates, and is taken back


class Broken(AssertionError):
    """The promise does not hold here."""


def turned(stored: Stored, job: JobState | None = None, attempt: AttemptState | None = None) -> Stored:
    """Other states, checked against the code's tables."""
    was, attempts = stored
    if attempt is not None and attempt is not attempts[-1]:
        check_attempt(attempts[-1], attempt)
        attempts = (*attempts[:-1], attempt)
    if job is not None and job is not was:
        check_job(was, job)
        was = job
    return was, attempts


def behind(world: World, memory: Stored, **more: object) -> World:
    """Memory changes now, the database later."""
    return replace(world, memory=memory, queue=(*world.queue, memory), **more)  # type: ignore[arg-type]


def newest(world: World) -> AttemptState | None:
    return world.memory[1][-1] if world.memory and world.memory[1] else None


# what the gateway does


def gateway_steps(world: World, rules: Rules) -> Iterator[World]:
    if world.memory is None:
        yield recovered(world, rules)
        return
    if world.queue:
        yield replace(world, stored=world.queue[0], queue=world.queue[1:])
    yield from dispatch_steps(world, rules)
    if world.step == "idle" and newest(world) in OPEN_ATTEMPTS:
        yield reconciled(world)
    if world.step == "withdrawing":
        yield from withdrawn(world)
    if world.step == "refusing" and not world.queue:
        yield replace(world, step="refused")  # the client has its 400
    if world.step == "telling" and (not world.queue or not rules.end_before_telling):
        yield replace(world, step="idle", told=world.told + 1)


def dispatch_steps(world: World, rules: Rules) -> Iterator[World]:
    assert world.memory is not None
    job, attempts = world.memory
    if world.step in ("new", "idle") and job in (J.SUBMITTING, J.PENDING) and newest(world) not in OPEN_ATTEMPTS:
        if len(attempts) < ATTEMPTS_MOST:
            first = A.PROBING if rules.probes and not attempts else A.POSTING
            job = J.DISPATCHED if job is J.PENDING else job
            yield behind(world, (job, (*attempts, first)), step="storing")
    elif world.step == "storing" and (not world.queue or not rules.intent_first):
        yield replace(world, step="posted", wire=Wire.SENT, copies=(*world.copies, Copy.NONE))
    elif world.step == "posted" and world.wire is Wire.ANSWERED and not (rules.intent_before_answer and world.queue):
        yield accepted(replace(world, wire=Wire.IDLE))
    elif world.step == "posted" and world.wire is Wire.REFUSED:
        yield refused(replace(world, wire=Wire.IDLE))
    elif world.step == "posted" and world.wire is Wire.IDLE:
        yield in_doubt(world, rules)


def accepted(world: World) -> World:
    assert world.memory is not None
    if newest(world) is A.PROBING:
        return replace(world, step="withdrawing", was_accepted=True)
    memory = world.memory
    if newest(world) in OPEN_ATTEMPTS and newest(world) is not A.RUNNING:
        memory = turned(memory, attempt=A.HELD)
    if memory[0] is J.SUBMITTING:
        memory = turned(memory, job=J.DISPATCHED)
    return behind(world, memory, step=after_step(memory), was_accepted=True, answered=True)


def refused(world: World) -> World:
    """By the only runner there is: to a job that was accepted before, this is its end; else it leaves no trace. While
    it is being submitted its client has no answer yet, though a runner may have validated it, and been lost."""
    assert world.memory is not None
    memory = turned(world.memory, attempt=A.REFUSED)
    if world.was_accepted and memory[0] is not J.SUBMITTING:
        return behind(world, turned(memory, job=J.FAILED), step="telling")
    job = J.REFUSED if memory[0] is J.SUBMITTING else J.CANCELLED
    return behind(world, (turned(memory, job=job)[0], ()), step="refusing")


def after_step(memory: Stored) -> str:
    return "telling" if memory[0] in ENDS else "idle"


def in_doubt(world: World, rules: Rules) -> World:
    assert world.memory is not None
    if newest(world) not in (A.POSTING, A.PROBING):
        return accepted(world)  # its events were faster than the answer that never came
    memory = turned(world.memory, attempt=A.IN_DOUBT)
    if not rules.doubt_is_looked_at:
        return behind(
            world, (J.PENDING, (*memory[1][:-1], A.UNDELIVERED)), step="idle", was_accepted=True, answered=True
        )
    if memory[0] is J.SUBMITTING:
        memory = turned(memory, job=J.DISPATCHED)
    return behind(world, memory, step="idle", was_accepted=True, answered=True)


def fate(world: World) -> Fate:
    copy = (
        world.copies[-1] if world.copies and world.memory and len(world.copies) == len(world.memory[1]) else Copy.NONE
    )
    fates = {Copy.NONE: Fate.GONE, Copy.QUEUED: Fate.PENDING, Copy.RUNNING: Fate.RUNNING, Copy.DONE: Fate.FINISHED}
    return fates[copy]


def reconciled(world: World) -> World:
    """The table of ``gateway.jobs.reconcile``."""
    assert world.memory is not None
    found, attempt = fate(world), newest(world)
    world = replace(world, was_accepted=world.was_accepted or found is not Fate.GONE)
    if found is Fate.GONE:
        return behind(world, turned(world.memory, job=J.PENDING, attempt=A.LOST), step="idle")
    if found is Fate.PENDING:
        return world if attempt is A.HELD else behind(world, turned(world.memory, attempt=A.HELD))
    if found is Fate.RUNNING:
        return started(world)
    return ended(world)


def started(world: World) -> World:
    assert world.memory is not None
    if newest(world) is A.RUNNING and world.memory[0] is J.RUNNING:
        return world
    return behind(world, turned(world.memory, job=J.RUNNING, attempt=A.RUNNING))


def ended(world: World) -> World:
    world = started(world)
    assert world.memory is not None
    # The runner's answer to the POST may still be on its way: what it says then changes nothing.
    return behind(
        world, turned(world.memory, job=J.COMPLETED, attempt=A.ENDED), step="telling", was_accepted=True, answered=True
    )


def withdrawn(world: World) -> Iterator[World]:
    """The deletion and the look are two calls: the job may begin before the first. Its client is answered then."""
    assert world.memory is not None
    if newest(world) is not A.PROBING:
        yield replace(world, step=after_step(world.memory), answered=True)
        return
    held = turned(world.memory, job=J.DISPATCHED, attempt=A.HELD)
    yield behind(world, held, step="idle", answered=True)  # the runner did not answer
    found = fate(world)
    if found is Fate.PENDING:
        memory = turned(world.memory, job=J.PENDING, attempt=A.WITHDRAWN)
        yield behind(world, memory, step="idle", copies=(*world.copies[:-1], Copy.NONE), answered=True)
    elif found is Fate.GONE:  # with its runner: another one is asked
        yield behind(world, turned(world.memory, attempt=A.LOST), step="new")
    else:
        yield replace(reconciled(replace(world, step="idle")), answered=True)


def recovered(world: World, rules: Rules) -> World:
    if world.stored is None or not world.stored[1]:  # its row was never written, or is gone with its refusal
        return replace(world, memory=(J.REFUSED, ()), step="never there")
    job, attempts = world.stored
    was_accepted = may_be_accepted(job, attempts if rules.doubt_is_acceptance else ())
    if job in ENDS:  # told again, where it was not: gateway.jobs.retold
        return replace(world, memory=world.stored, step="idle" if world.told else "telling")
    job, newest_attempt = as_found(job, attempts[-1] if attempts else A.UNDELIVERED)
    attempts = (*attempts[:-1], newest_attempt) if attempts else ()
    copies = (*world.copies, *[Copy.NONE] * (len(attempts) - len(world.copies)))
    found = replace(world, memory=(job, attempts), step="idle", copies=copies, was_accepted=was_accepted)
    is_written = world.stored[0] is J.SUBMITTING and was_accepted
    return behind(found, (job, attempts)) if is_written else found


# what the runner, the wire and the events do


def runner_steps(world: World) -> Iterator[World]:
    if world.wire is Wire.SENT:
        yield replace(world, wire=Wire.ANSWERED, copies=(*world.copies[:-1], Copy.QUEUED))
        if world.refusals:
            yield replace(world, wire=Wire.REFUSED, refusals=world.refusals - 1)
    if not any(copy is Copy.RUNNING for copy in world.copies):
        for place, copy in enumerate(world.copies):
            if copy is Copy.QUEUED:
                yield from heard(with_copy(world, place, Copy.RUNNING), place, started)
    for place, copy in enumerate(world.copies):
        if copy is Copy.RUNNING:
            ran = replace(with_copy(world, place, Copy.DONE), completed=world.completed + 1)
            yield from heard(ran, place, ended)


def with_copy(world: World, place: int, copy: Copy) -> World:
    return replace(world, copies=(*world.copies[:place], copy, *world.copies[place + 1 :]))


def heard(world: World, place: int, follow: Callable[[World], World]) -> Iterator[World]:
    """The gateway follows an event of its open attempt, or misses it."""
    listens = world.memory is not None and place == len(world.memory[1]) - 1 and newest(world) in OPEN_ATTEMPTS
    if not listens:
        yield world
        return
    yield follow(world)
    if world.missed_events:
        yield replace(world, missed_events=world.missed_events - 1)


def faults(world: World) -> Iterator[World]:
    if world.gateway_kills and world.memory is not None:
        lost = world.wire if world.wire is Wire.SENT else Wire.IDLE
        yield replace(world, memory=None, queue=(), wire=lost, gateway_kills=world.gateway_kills - 1)
    if world.runner_kills and any(copy is not Copy.NONE for copy in world.copies):
        gone = (Copy.NONE,) * len(world.copies)
        yield replace(world, copies=gone, wire=Wire.IDLE, runner_kills=world.runner_kills - 1)
    if world.wire_losses and world.wire is not Wire.IDLE:  # before the runner had it, or the answer
        yield replace(world, wire=Wire.IDLE, wire_losses=world.wire_losses - 1)


# the promise


def check(world: World) -> None:
    """What holds at every moment."""
    if world.told > 1:
        raise Broken("its end was told twice")
    if world.told and (world.stored is None or world.stored[0] not in ENDS):
        raise Broken("an end was told that a crash would undo")
    known = world.memory or world.stored
    attempts = known[1] if known else ()
    if sum(attempt in OPEN_ATTEMPTS for attempt in attempts) > 1:
        raise Broken("two attempts are open")
    lost = sum(attempt is A.LOST for attempt in attempts)
    alive = sum(copy in (Copy.QUEUED, Copy.RUNNING) for copy in world.copies)
    if alive > 1 + lost or world.completed > 1 + lost:
        raise Broken(f"{alive} copies alive, {world.completed} completed, {lost} attempts lost")
    if world.memory is not None and world.step == "never there" and (world.answered or alive):
        raise Broken("an accepted job was never there")
    if world.step in ("refusing", "refused") and (world.answered or alive):
        raise Broken("an accepted job leaves no trace")


def explore(rules: Rules) -> int:
    """Goes through every state that can be reached; returns how many. Raises Broken."""
    start = World()
    seen, todo = {start}, deque([start])
    calm: dict[World, list[World]] = {}  # what can come of a state without further faults
    while todo:
        world = todo.popleft()
        check(world)
        calm[world] = [*gateway_steps(world, rules), *runner_steps(world)]
        for following in (*calm[world], *faults(world)):
            if following not in seen:
                seen.add(following)
                todo.append(following)
    check_all_end(calm)
    return len(seen)


def check_all_end(calm: dict[World, list[World]]) -> None:
    """From every state of an accepted job its end can be reached without any further fault: it is never lost."""
    before: dict[World, list[World]] = {}
    for world, following in calm.items():
        for each in following:
            before.setdefault(each, []).append(world)
    todo = [world for world in calm if world.told == 1]
    ends = set(todo)
    while todo:
        for world in before.get(todo.pop(), ()):
            if world not in ends:
                ends.add(world)
                todo.append(world)
    stranded = [world for world in calm if world.answered and world not in ends]
    if stranded:
        raise Broken(f"an accepted job never ends: {stranded[0]}")


@pytest.mark.parametrize("rules", [Rules(), Rules(probes=True)], ids=["post", "probe and take back"])
def test_every_interleaving_keeps_the_promise(rules):
    assert explore(rules) > 10_000


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        (Rules(intent_first=False), "never there|never ends|copies alive"),
        (Rules(intent_first=False, intent_before_answer=True), "never there"),
        (Rules(doubt_is_looked_at=False), "copies alive"),
        (Rules(end_before_telling=False), "a crash would undo"),
        (Rules(doubt_is_acceptance=False), "leaves no trace"),
    ],
    ids=[
        "posts before the intent is stored",
        "posts while the intent is stored",
        "posts again when in doubt",
        "tells an end that is not stored",
        "forgets what may have had its 200",
    ],
)
def test_model_finds_what_is_wrong(rules, fault):
    with pytest.raises(Broken, match=fault):
        explore(rules)
