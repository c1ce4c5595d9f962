"""What is read from the rooms at a scrape: nothing is counted for it anywhere."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from gateway.clock import Clock
from gateway.files.archive import Archive
from gateway.files.outputs import OutputNames
from gateway.jobs.jobs import Jobs
from gateway.jobs.states import ENDS, JobState
from gateway.runners.pool import Pool
from gateway.runners.runner import RunnerState
from gateway.sessions.hub import Hub
from gateway.storage.database import Database
from gateway.webhooks.webhooks import Webhooks

ARCHIVE_SECONDS = 60.0  # the archive's size is added up so often at most
OWNERS_MOST = 100  # that are told by name
OTHER_OWNERS = "(others)"
LIVE_STATES = [state for state in JobState if state not in ENDS and state is not JobState.REFUSED]


@dataclass(frozen=True, slots=True)
class Rooms:
    """Whose state is told."""

    pool: Pool
    jobs: Jobs
    hub: Hub
    db: Database
    outputs: OutputNames
    archive: Archive
    webhooks: Webhooks
    data_dir: Path


class RoomsCollector(Collector):
    """Reads the rooms of one gateway."""

    def __init__(self, rooms: Rooms, clock: Clock) -> None:
        self._rooms = rooms
        self._clock = clock
        self._archive = (0, 0)
        self._archive_read_at: float | None = None

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield InfoMetricFamily("comfy_gateway", "The gateway.", {"version": version()})
        yield from self._jobs()
        yield from self._runners()
        yield from self._sessions()
        yield from self._webhooks()
        yield from self._storage()

    def _jobs(self) -> Iterator[Metric]:
        counts = Counter(job.state for job in self._rooms.jobs.registry)
        family = GaugeMetricFamily("comfy_gateway_jobs", "Jobs that have not ended.", labels=["state"])
        for state in LIVE_STATES:
            family.add_metric([state.value], counts[state])
        yield family
        yield self._jobs_of_owners()

    def _jobs_of_owners(self) -> Metric:
        """Of the owners with the most jobs; the others' are told together."""
        counts = Counter((job.owner, job.state.value) for job in self._rooms.jobs.registry)
        totals = Counter[str]()
        for (owner, _), count in counts.items():
            totals[owner] += count
        named = {owner for owner, _ in totals.most_common(OWNERS_MOST)}
        told = Counter[tuple[str, str]]()
        for (owner, state), count in counts.items():
            told[owner if owner in named else OTHER_OWNERS, state] += count
        family = GaugeMetricFamily(
            "comfy_gateway_owner_jobs",
            "Jobs that have not ended, of each owner that has any.",
            labels=["owner", "state"],
        )
        for labels, count in told.items():
            family.add_metric(labels, count)
        return family

    def _runners(self) -> Iterator[Metric]:
        state = _runner_gauge("state", "1 for the state that the runner is in.", "state")
        takes_work = _runner_gauge("takes_work", "1 when it is ready and the operator has it active.")
        up = _runner_gauge("up", "1 when it is ready.")
        busy = _runner_gauge("busy", "1 while it runs a job of the gateway.")
        held = _runner_gauge("held_jobs", "The gateway's jobs on it.")
        capacity = _runner_gauge("capacity_jobs", "Jobs that it may hold at once.")
        link = _runner_gauge("link_open", "1 while the gateway's websocket to it stands.")
        queue = _runner_gauge("queue_jobs", "Its queue as it counts itself, whoever submitted.")
        latency = _runner_gauge("latency_seconds", "Moving average over the calls that it answered.")
        classes = _runner_gauge("node_classes", "Node classes in its catalogue.")
        registry = self._rooms.jobs.registry
        for runner in self._rooms.pool:
            name = runner.name
            for each in RunnerState:
                state.add_metric([name, each.value], runner.health.state is each)
            takes_work.add_metric([name], runner.takes_work)
            up.add_metric([name], runner.is_ready)
            busy.add_metric([name], registry.running_on(name) is not None)
            held.add_metric([name], registry.held(name))
            capacity.add_metric([name], runner.capacity)
            link.add_metric([name], runner.link.is_open)
            queue.add_metric([name], runner.queue_remaining)
            latency.add_metric([name], runner.client.latency_seconds)
            classes.add_metric([name], len(runner.facts.object_info))
        yield from (state, takes_work, up, busy, held, capacity, link, queue, latency, classes)

    def _sessions(self) -> Iterator[Metric]:
        hub = self._rooms.hub
        yield GaugeMetricFamily("comfy_gateway_websockets", "Clients' websockets that are open.", len(hub))
        for name, documentation, value in (
            ("messages_sent", "Frames sent to clients.", hub.traffic.sent),
            ("previews_dropped", "Previews not sent because their client was slow.", hub.traffic.dropped_previews),
            ("closed_too_slow", "Websockets closed because their client was too slow.", hub.traffic.too_slow),
        ):
            yield CounterMetricFamily(f"comfy_gateway_websocket_{name}", documentation, value)

    def _webhooks(self) -> Iterator[Metric]:
        webhooks = self._rooms.webhooks
        ended = CounterMetricFamily(
            "comfy_gateway_webhook_deliveries_ended", "Deliveries that have ended, by how.", labels=["state"]
        )
        for state, count in webhooks.ended.items():
            ended.add_metric([state.value], count)
        yield ended
        yield CounterMetricFamily(
            "comfy_gateway_webhook_failed_tries", "Tries that no receiver has taken.", webhooks.failed_tries
        )
        waiting, age_seconds = webhooks.outbox
        yield GaugeMetricFamily("comfy_gateway_webhook_waiting", "Deliveries that have not ended.", waiting)
        yield GaugeMetricFamily(
            "comfy_gateway_webhook_oldest_seconds", "Age of the oldest delivery that has not ended.", age_seconds
        )

    def _storage(self) -> Iterator[Metric]:
        files, size = self._archive_size()
        yield GaugeMetricFamily(
            "comfy_gateway_database_pending_writes",
            "Groups of operations that wait to be written.",
            self._rooms.db.pending_writes,
        )
        yield GaugeMetricFamily("comfy_gateway_archive_files", "Contents of outputs of which there is a copy.", files)
        yield GaugeMetricFamily("comfy_gateway_archive_bytes", "Bytes of the outputs' copies.", size)
        dropped = CounterMetricFamily(
            "comfy_gateway_archive_dropped", "Copies of outputs that went, by why.", labels=["why"]
        )
        for why, count in self._rooms.archive.dropped.items():
            dropped.add_metric([why], count)
        yield dropped
        yield GaugeMetricFamily(
            "comfy_gateway_data_free_bytes",
            "Bytes free on the disk of data_dir.",
            shutil.disk_usage(self._rooms.data_dir).free,
        )

    def _archive_size(self) -> tuple[int, int]:
        now = self._clock.monotonic()
        if self._archive_read_at is None or now - self._archive_read_at >= ARCHIVE_SECONDS:
            self._archive_read_at = now
            sizes = {row.content_hash: row.size or 0 for row in self._rooms.outputs.rows() if row.content_hash}
            self._archive = len(sizes), sum(sizes.values())
        return self._archive


def _runner_gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"comfy_gateway_runner_{name}", documentation, labels=["runner", *labels])


def version() -> str:
    """The gateway's own version."""
    return metadata.version("comfy-gateway")
