"""Runners and jobs as the operator is shown them: everything that led to where they stand. Clients' views of jobs are
in `gateway.comfyui.jobs_api`. Times are milliseconds since the epoch."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway.clock import Clock
from gateway.comfyui import json_text
from gateway.jobs.changes import as_list
from gateway.jobs.dispatch import Dispatcher
from gateway.jobs.fleet import Fleet
from gateway.jobs.job import Job
from gateway.jobs.registry import Registry
from gateway.jobs.states import JobState
from gateway.runners.runner import Runner
from gateway.storage import jobs as job_rows
from gateway.storage.database import Database
from gateway.storage.jobs import AttemptRow, JobRow


class Overview:
    """Reads the jobs room and the database."""

    def __init__(self, db: Database, registry: Registry, dispatcher: Dispatcher, fleet: Fleet, clock: Clock) -> None:
        self._db = db
        self._registry = registry
        self._dispatcher = dispatcher
        self._fleet = fleet
        self._clock = clock

    async def job(self, job_id: str, owner: str | None) -> dict[str, Any] | None:
        """The whole story of an owner's job, or of anybody's, ended or not; None if there is none. Raises
        StorageError."""
        await self._db.flushed()
        row = await job_rows.load_job(self._db, job_id)
        if row is None or (owner is not None and row.owner != owner):
            return None
        attempts = await job_rows.load_attempts(self._db, job_id)
        return {**_job(row), **self._now(self._registry.get(job_id)), "attempts": [_attempt(each) for each in attempts]}

    def _now(self, job: Job | None) -> dict[str, Any]:
        """What only memory knows of a job that has not ended; where it could go is told while it waits."""
        if job is None:
            return {"position": None, "expected": None, "refused_by": {}, "placement": None}
        position = self._registry.waiting.position(job.id)
        return {
            "state": job.state.value,
            "reason": job.reason or None,
            "runner": job.runner,
            "position": None if position is None else position + 1,
            "expected": self._expected(job),
            "refused_by": dict(job.refused_by),
            "placement": self._placement(job) if job.state is JobState.PENDING else None,
        }

    def _expected(self, job: Job) -> dict[str, int] | None:
        """When it begins and ends, as far as that can be told."""
        found = self._dispatcher.expected([job]).get(job.id)
        return None if found is None else asdict(found)

    def _placement(self, job: Job) -> dict[str, Any]:
        placement = self._dispatcher.explain(job)
        considered = [{"runner": name, "reason": reason} for name, reason in placement.considered]
        return {"runner": placement.runner, "reason": placement.reason, "runners": considered}

    def runner(self, runner: Runner, owner: str | None = None) -> dict[str, Any]:
        """A runner's state with its reason, and what it holds: the ids of an owner's jobs there, or of everyone's."""
        running = self._registry.running_on(runner.name)
        attempts = self._registry.attempts_on(runner.name)
        seen = [attempt.job.id for attempt in attempts if owner is None or attempt.job.owner == owner]
        return {
            "name": runner.name,
            "endpoint": runner.client.endpoint,
            "status": runner.config.status,
            "state": runner.health.state.value,
            "reason": runner.health.reason,
            "since": self._wall_ms(runner.health.since),
            "takes_work": runner.takes_work,
            "version": runner.facts.version or None,
            "tags": list(runner.config.tags),
            "weight": runner.config.weight,
            "capacity": runner.capacity,
            "held": self._registry.held(runner.name),
            "jobs": seen,
            "running": running.job.id if running is not None and running.job.id in seen else None,
            "queue": runner.queue_remaining,
            "latency_seconds": round(runner.client.latency_seconds, 6),
            "link_open": runner.link.is_open,
            "node_classes": len(runner.facts.object_info),
            "leaving": self._leaving(runner.name),
        }

    def _leaving(self, name: str) -> dict[str, Any] | None:
        leaving = self._fleet.leaving(name)
        if leaving is None:
            return None
        deadline = None if leaving.deadline is None else self._wall_ms(leaving.deadline)
        return {"deadline": deadline, "removes": leaving.removes}

    def _wall_ms(self, monotonic: float) -> int:
        return self._clock.wall_ms() + round((monotonic - self._clock.monotonic()) * 1000)


def _job(row: JobRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "state": row.state,
        "reason": row.reason,
        "owner": row.owner,
        "client_id": row.client_id,
        "workflow_id": row.workflow_id,
        "number": row.number,
        "tags": json_text.loads(row.request).get("tags", []),
        "runner": row.runner,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "changes": as_list(row.changes),
        "deleted": row.hidden,
    }


def _attempt(row: AttemptRow) -> dict[str, Any]:
    return {
        "ordinal": row.ordinal,
        "runner": row.runner,
        "runner_prompt_id": row.runner_prompt_id,
        "state": row.state,
        "reason": row.reason,
        "created_at": row.created_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "changes": as_list(row.changes),
    }
