"""What must hold once everything has come to rest, each a function with a name. Pure: an Aftermath in, faults out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from chaos.aftermath import Aftermath
from chaos.clients import FROM_INPUT, Submission
from chaos.inputs import colour_of
from chaos.traces import DONE, START, fault_in
from support.png import seed_of

from gateway.jobs.states import ENDS, OPEN_ATTEMPTS

Fault = tuple[str | None, str]  # the job that it is about, if it is about one, and what is wrong
Invariant = Callable[[Aftermath], Iterator[Fault]]

DROPPED = frozenset({"cancel", "delete"})
ENDED = frozenset(state.value for state in ENDS)
OPEN = frozenset(state.value for state in OPEN_ATTEMPTS)


def comes_to_rest(after: Aftermath) -> Iterator[Fault]:
    if after.restless:
        yield None, after.restless


def accepted_ends_exactly_once(after: Aftermath) -> Iterator[Fault]:
    """In the history, or dropped without a trace by a cancel or a delete that was asked for."""
    for job, asked in _accepted(after).items():
        row = after.rows.get(job)
        if row is None:
            yield job, "was accepted and is not in the database"
        elif row["state"] not in ENDED:
            yield job, f"was accepted and has not ended: {row['state']}"
        elif job not in after.entries and not (row["state"] == "cancelled" and row["hidden"] and asked & DROPPED):
            yield job, f"has no history: {row['state']}, {row['reason']}, asked for: {sorted(asked)}"
        if after.listed.count(job) != (job in after.entries):
            yield job, f"is listed {after.listed.count(job)} times"


def traces_are_legal(after: Aftermath) -> Iterator[Fault]:
    for client in after.clients:
        for job, trace in client.traces.items():
            whole = job in after.entries and not client.gaps
            if job in after.unstored and client.gaps:
                continue  # a kill may have undone the end that it was told
            fault = fault_in([kind for kind, _ in trace], lost=after.given_up(job) + after.revived, whole=whole)
            if fault:
                yield job, f"{client.sid} was told {[kind for kind, _ in trace]}: {fault}"


def ends_are_told(after: Aftermath) -> Iterator[Fault]:
    """A client whose socket stood all the time has heard the end of each of its jobs."""
    for each in after.submissions:
        client = after.clients[each.client]
        if each.accepted and each.job in after.entries and not client.gaps and not client.traces.get(str(each.job)):
            yield each.job, f"{client.sid} heard nothing of it"


def history_equals_what_was_told(after: Aftermath) -> Iterator[Fault]:
    for client in after.clients:
        for job, trace in client.traces.items():
            entry = after.entries.get(job)
            if job in after.unstored and client.gaps:
                continue
            if entry is None:
                if any(kind == DONE for kind, _ in trace):
                    yield job, "its end was told, and it has no history"
                continue
            newest = max((place for place, (kind, _) in enumerate(trace) if kind == START), default=0)
            for kind, data in trace[newest:]:
                if kind == "executed" and data["output"] and entry["outputs"].get(data["node"]) != data["output"]:
                    if after.given_up(job):
                        continue  # of an attempt that was lost later
                    yield job, f"node {data['node']}: told {data['output']}, kept {entry['outputs'].get(data['node'])}"
                if kind.startswith("execution_") and kind in _TERMINAL_OF and _TERMINAL_OF[kind] != _end_of(entry):
                    yield job, f"told {kind}, kept {_end_of(entry)}"
            if not client.gaps and entry["status"]["completed"]:
                told = {data["node"] for kind, data in trace if kind == "executed"}
                if entry["outputs"].keys() - told:
                    yield job, f"outputs of {sorted(entry['outputs'].keys() - told)} were never told"


def ends_fit_the_prompt(after: Aftermath) -> Iterator[Fault]:
    """What a job ends with comes from its graph, from its client, or from runners that were lost; from nothing else."""
    for each in after.submissions:
        row = after.rows.get(str(each.job))
        if row is None or not each.accepted:
            continue
        asked = _accepted(after)[str(each.job)]
        excused = after.lost(str(each.job)) > 0 or (each.kind == "invalid" and not _is_validated(after, each))
        if each.kind == "failing" and row["state"] == "completed":
            yield each.job, "its graph fails, and it is told completed"
        if each.kind != "failing" and row["state"] == "failed" and not excused:
            yield each.job, f"failed without a reason: {row['reason']}"
        if row["state"] == "cancelled" and not asked:
            yield each.job, f"cancelled, and nobody asked for it: {row['reason']}"


def no_job_is_completed_twice(after: Aftermath) -> Iterator[Fault]:
    """Unless an attempt was lost or moved: the runner may have gone on with it out of sight."""
    owner = {row["runner_prompt_id"]: job for job, rows in after.attempts.items() for row in rows}
    completed: Counter[str] = Counter()
    for simulator in after.simulators:
        for runner_id in simulator.executed:
            if runner_id not in owner:
                yield runner_id, f"ran to completion on {simulator.options.name}, and no job is known for it"
            completed[owner.get(runner_id, runner_id)] += 1
    for job, times in completed.items():
        if times > 1 + after.given_up(job):
            yield job, f"ran to completion {times} times, with {after.given_up(job)} attempts lost or moved"


def every_picture_is_its_jobs(after: Aftermath) -> Iterator[Fault]:
    seeds = {job: _seeds_of(after, job) for job in after.pictures}
    names: Counter[tuple[str, int]] = Counter()
    for job, pictures in after.pictures.items():
        if after.entries[job]["status"]["completed"] and not pictures:
            yield job, "completed without a picture"
        for name, status, body in pictures:
            if status != 200:
                yield job, f"{name} answered {status}"
                continue
            seed = seed_of(body)
            if seed not in seeds[job] and not name.startswith(FROM_INPUT):  # such a picture may be a cached one
                yield job, f"{name} is of seed {seed}, not of {seeds[job]}"
            names[name, seed] += 1
    by_name: dict[str, set[int]] = {}
    for name, seed in names:
        by_name.setdefault(name, set()).add(seed)
    for name, several in by_name.items():
        if len(several) > 1:
            yield None, f"{name} is the picture of seeds {sorted(several)}"


def every_input_is_the_one_named(after: Aftermath) -> Iterator[Fault]:
    """A picture made from an upload shows that upload, one made from an output that very output."""
    pictures = {name: body for found in after.pictures.values() for name, status, body in found if status == 200}
    for name, colours in after.uploads.items():
        if len(colours) > 1 and not name.startswith("over"):
            yield None, f"{name} was given to {len(colours)} different uploads"
    for each in after.submissions:
        if each.image is None or not each.accepted:
            continue
        source = each.image.removesuffix(" [output]")
        is_output = source != each.image
        wanted = {colour_of(pictures[source])} if is_output and source in pictures else after.uploads.get(each.image)
        if not wanted:
            yield each.job, f"its input {each.image} cannot be had any more"
            continue
        for name, status, body in after.pictures.get(str(each.job), ()):
            if name.startswith(FROM_INPUT) and status == 200 and colour_of(body) not in wanted:
                yield each.job, f"{name} shows {colour_of(body)}, and {each.image} is {wanted}"


def tabs_are_told_one_job_after_the_other(after: Aftermath) -> Iterator[Fault]:
    """Unless the live job's runner was lost: then its turn is over."""
    for client in after.clients:
        if client.mode == "raw" or client.gaps:
            continue
        live = None
        for job, kind in client.heard:
            if kind == START and live not in (None, job) and not after.given_up(str(live)):
                yield job, f"{client.sid} ({client.mode}) heard its start while {live} was live"
            if kind == START:
                live = job
            elif kind == DONE and live == job:
                live = None


def the_pool_is_as_the_operator_has_it(after: Aftermath) -> Iterator[Fault]:
    configured = [simulator.options.name for simulator in after.simulators]
    if after.pool != configured:
        yield None, f"the pool is {after.pool}, the configuration has {configured}"


def nothing_is_left_anywhere(after: Aftermath) -> Iterator[Fault]:
    for simulator in after.simulators:
        if simulator.state.queue.remaining:
            yield None, f"{simulator.options.name} still has {simulator.state.queue.listing()}"
    for job in after.alive:
        yield job, "is still in the registry"
    for attempt in after.open_attempts:
        yield None, f"an attempt is open: {attempt}"
    if after.waiting:
        yield None, f"{after.waiting} jobs wait"
    if after.remaining:
        yield None, f"queue_remaining is {after.remaining}"
    for client in after.clients:
        if client.remaining:
            yield None, f"{client.sid} was told queue_remaining {client.remaining} last"


def database_equals_memory(after: Aftermath) -> Iterator[Fault]:
    for job, rows in after.attempts.items():
        for row in rows:
            if row["state"] in OPEN:
                yield job, f"attempt {row['ordinal']} on {row['runner']} is open in the database: {row['state']}"
    for job, row in after.rows.items():
        if row["state"] not in ENDED:
            yield job, f"is {row['state']} in the database"
    kept = [job for job, row in after.rows.items() if row["ended_at"] is not None and not row["hidden"]]
    if sorted(kept) != sorted(after.listed):
        yield None, f"the database's history {kept} is not the listing {after.listed}"


def refused_leaves_no_trace(after: Aftermath) -> Iterator[Fault]:
    answered = {each.job for each in after.submissions if each.status in (200, None)}
    for each in after.submissions:
        if each.status in (200, None) or each.job is None or each.job in answered:
            continue
        if each.job in after.rows or each.job in after.entries:
            yield each.job, f"was refused with {each.status} and has a trace"
    known = {each.job for each in after.submissions}
    chosen = {each.job for each in after.submissions if each.chosen}
    unanswered = sum(each.status is None and not each.chosen for each in after.submissions)
    strangers = [job for job in after.rows if job not in known | chosen]
    if len(strangers) > unanswered:
        yield strangers[0], f"{len(strangers)} jobs of unknown origin, {unanswered} prompts without an answer"


def answers_are_right(after: Aftermath) -> Iterator[Fault]:
    """The invalid are refused with 400, and nothing else is but an id that is taken; only 503 says: not now."""
    times = Counter(each.job for each in after.submissions)
    for each in after.submissions:
        taken = each.chosen and times[each.job] > 1
        if each.status is None or each.status == 503:
            continue
        if each.status == 200 and not _is_validated(after, each):
            continue  # no runner answered: accepted on the gateway's own checks, or in doubt
        if each.status == 200 and each.kind == "invalid":
            yield each.job, "is invalid and was accepted"
        if each.status == 400 and each.kind != "invalid" and not taken:
            yield each.job, f"is valid and was refused: {each.answer}"
        if each.status not in (200, 400) and each.status not in after.statuses:
            yield each.job, f"answered {each.status}: {each.answer}"
        if each.kind == "partly" and each.status == 200 and "4" not in each.answer["node_errors"]:
            yield each.job, f"is valid in part, and its node_errors are {each.answer['node_errors']}"


def nothing_went_wrong_inside(after: Aftermath) -> Iterator[Fault]:
    for error in after.errors:
        yield None, f"logged: {error}"
    for task in after.tasks_left:
        yield None, f"task left behind: {task}"


INVARIANTS: tuple[Invariant, ...] = (
    comes_to_rest,
    accepted_ends_exactly_once,
    traces_are_legal,
    ends_are_told,
    history_equals_what_was_told,
    ends_fit_the_prompt,
    no_job_is_completed_twice,
    every_picture_is_its_jobs,
    every_input_is_the_one_named,
    tabs_are_told_one_job_after_the_other,
    the_pool_is_as_the_operator_has_it,
    nothing_is_left_anywhere,
    database_equals_memory,
    refused_leaves_no_trace,
    answers_are_right,
    nothing_went_wrong_inside,
)

_TERMINAL_OF = {
    "execution_success": "success",
    "execution_error": "error",
    "execution_interrupted": "interrupted",
}


def _is_validated(after: Aftermath, each: Submission) -> bool:
    return each.validated and each.job not in after.in_doubt


def _seeds_of(after: Aftermath, job: str) -> set[int]:
    """The seed of a job's prompt; where no answer came, of every prompt that it may be."""
    of_job = [each for each in after.submissions if each.job == job]
    accepted = {each.seed for each in of_job if each.accepted}
    unanswered = {each.seed for each in of_job if each.status is None}
    return accepted or unanswered or {each.seed for each in after.submissions if each.status is None}


def _end_of(entry: dict[str, Any]) -> str:
    if entry["status"]["completed"]:
        return "success"
    kinds = {kind for kind, _ in entry["status"]["messages"]}
    return "interrupted" if "execution_interrupted" in kinds else "error"


def _accepted(after: Aftermath) -> dict[str, set[str]]:
    """Accepted jobs, with what was asked of them."""
    found: dict[str, set[str]] = {}
    submission: Submission
    for submission in after.submissions:
        if submission.accepted:
            found.setdefault(str(submission.job), set()).update(submission.asked_to_end)
    return found
