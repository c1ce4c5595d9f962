"""When a runner that works is given its next job: shortly before it is free, so that it need not wait for a dispatch
between two jobs, and nothing is bound while the pool may still change. Pure; who waits for that moment is the
dispatcher.

    what it holds is expected to take     its next slot opens
    longer than the lead                  a lead before its end
    no longer than the lead, or overruns  now
    nobody knows how long                 now, and so up to its `prefetch`

A forecast that was too long costs one dispatch's time: its end comes first, and an idle runner is given a job at once.
One that was too short binds a job earlier by as much.
"""

from __future__ import annotations

from collections.abc import Iterable

LEAST_LEAD = 0.1  # seconds
DISPATCHES = 3.0  # that go into a lead: some take longer than others


def lead_for(dispatch_seconds: float) -> float:
    """How long before its end a job's successor is sent, where a dispatch takes so long."""
    return max(LEAST_LEAD, DISPATCHES * dispatch_seconds)


def opens_in(left: Iterable[float | None], lead: float) -> float:
    """Seconds until a runner may be given one more job.

    Args:
        left: what each job that it holds is still expected to take in seconds, negative once it took longer; None for
            one of whose kind nothing is known.
        lead: seconds.
    """
    whole = 0.0
    for seconds in left:
        if seconds is None:
            return 0.0
        whole += max(0.0, seconds)
    return max(0.0, whole - lead)
