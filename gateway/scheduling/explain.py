"""Decisions in words: why a job goes where it goes, or what it waits for; and what each runner would mean for it."""

from __future__ import annotations

import math

from gateway.scheduling.policies import Policy
from gateway.scheduling.snapshot import Models, Snapshot
from gateway.scheduling.waiting import Waiting
from gateway.scheduling.warm import WarmFirst, victims


def job(now: Snapshot, policy: Policy, waiting: Waiting, before: int) -> tuple[str, str | None]:
    """Why a job waits, and for which runner if it would be given out now; ``before`` jobs are due before it."""
    decision = policy.pick(now)
    if decision is not None and decision.job == waiting.job_id:
        return decision.reason, decision.runner
    line = next((line for line in now.lines if line.head == waiting.job_id), None)
    if line is None:
        return f"{before} jobs are due before it", None
    able = [now.by_name[name] for name in line.runners if name in now.by_name]
    if not able:
        return "no runner that fits is up", None
    idle = [runner for runner in able if runner.name in now.idle]
    if not idle:
        return f"every runner that fits is busy; the first is free in {min(each.ready_in for each in able):.0f} s", None
    if not isinstance(policy, WarmFirst):
        return "another job is due before it", None
    wait, needed = policy.weigh(now, line.models)
    if math.isinf(wait):
        return "the models that it would throw out are to be kept", None
    return (
        f"the runners that have its models are busy: {wait:.1f} s of work wait for them, another one loads them "
        f"from {needed:.1f} s on, or when {policy.left(now, line):.0f} s more have passed"
    ), None


def runner(now: Snapshot, name: str, models: Models) -> str:
    """What a runner that fits would mean for a job with these models."""
    known = now.by_name.get(name)
    if known is None:
        return "fits"
    load = now.missing(known, models)
    parts = ["has its models loaded" if models and not load else "fits"]
    if load:
        parts.append(f"would load for {load:.1f} s")
        thrown = victims(now, known, models)
        if thrown:
            parts.append(f"and throw out {', '.join(thrown)}")
    parts.append("idle" if known.held == 0 else f"{known.held} before it, free in {known.ready_in:.1f} s")
    if known.room <= 0:
        parts.append("full")
    elif known.opens_in > 0:
        parts.append(f"given its next job in {known.opens_in:.1f} s")
    return "; ".join(parts)
