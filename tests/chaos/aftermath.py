"""What is there to be looked at when a run is over."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.clients import ChaosClient, Submission
from chaos.inputs import Colour

from gateway.api.services import Services
from gateway.jobs.states import AttemptState
from gateway.simulator import Simulator


@dataclass
class Aftermath:
    """What is there once everything has come to rest; ``rows`` and ``attempts`` are read from the database's file after
    the gateway has ended."""

    submissions: list[Submission]
    clients: list[ChaosClient]
    simulators: list[Simulator]
    entries: dict[str, Any] = field(default_factory=dict)  # GET /history/{id}
    pictures: dict[str, list[tuple[str, int, bytes]]] = field(default_factory=dict)  # (file name, status, body)
    remaining: int = -1  # GET /prompt
    alive: list[str] = field(default_factory=list)  # jobs in the registry
    open_attempts: list[str] = field(default_factory=list)
    waiting: int = 0
    pool: list[str] = field(default_factory=list)  # names, in the pool's order
    listed: list[str] = field(default_factory=list)  # ids of the history's listing, in its order
    rows: dict[str, sqlite3.Row] = field(default_factory=dict)
    attempts: dict[str, list[sqlite3.Row]] = field(default_factory=dict)
    revived: int = 0  # restarts of runners that had forgotten nothing: what ran began again, as the same attempt
    statuses: set[int] = field(default_factory=set)  # with which runners were told to answer
    in_doubt: set[str] = field(default_factory=set)  # jobs whose POST had no answer
    errors: list[str] = field(default_factory=list)
    tasks_left: list[str] = field(default_factory=list)
    uploads: dict[str, set[Colour]] = field(default_factory=dict)  # what was ever uploaded under a name
    unstored: set[str] = field(default_factory=set)  # jobs whose end was told although it could not be stored yet
    restless: str = ""  # what did not come to rest in time

    def lost(self, job: str) -> int:
        """How many attempts of a job were lost."""
        return sum(row["state"] == "lost" for row in self.attempts.get(job, ()))

    def given_up(self, job: str) -> int:
        """How many attempts of a job were lost, or taken from their runner by the operator."""
        return sum(row["state"] in ("lost", "moved") for row in self.attempts.get(job, ()))

    def read_database(self, path: Path) -> None:
        """From the file, once the gateway has ended."""
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row
        self.rows = {row["id"]: row for row in connection.execute("SELECT * FROM jobs ORDER BY ended_at, seq")}
        for row in connection.execute("SELECT * FROM attempts ORDER BY job_id, ordinal"):
            self.attempts.setdefault(row["job_id"], []).append(row)
        connection.close()

    def look_inside(self, rooms: Services) -> None:
        """In the gateway's own thread."""
        registry = rooms.jobs.registry
        self.alive = [job.id for job in registry]
        self.open_attempts = [
            f"{attempt.job.id} on {runner.name}: {attempt.state}"
            for runner in rooms.pool
            for attempt in registry.attempts_on(runner.name)
            if attempt.state in AttemptState
        ]
        self.waiting = len(registry.waiting)
        self.pool = [runner.name for runner in rooms.pool]
        self.listed = [str(row["id"]) for row in rooms.jobs.history.rows(None)]
