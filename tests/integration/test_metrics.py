"""What Prometheus reads of a pool at work, and that alerts and dashboard speak of metrics that exist."""

import json
import re
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.client import Client
from support.graphs import save_graph
from support.pools import running_pool

from gateway.runners.runner import RunnerState

DOCS = Path(__file__).parents[2] / "docs"
NAME = re.compile(r"\b(?:comfy_gateway|process)_[a-z0-9_]+\b")


async def scrape(client):
    async with client.http.get(client.base + "/gateway/metrics") as answer:
        assert answer.content_type == "text/plain"
        return await answer.text()


def samples(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found[(f"comfy_gateway_{name}", tuple(sorted(labels.items())))]


@pytest.fixture
async def worked(tmp_path):
    """A pool of two after a success, an error and a refusal, while a job runs and another waits; and its metrics."""
    async with running_pool(tmp_path, 2, runners={"prefetch": 0}) as pool, Client.connected(pool.base) as client:
        await client.hear_end(await client.submit(save_graph(1)))
        await client.hear_end(await client.submit(save_graph(2, fail_at=0)))
        status, _ = await client.post("/prompt", {"prompt": {"1": {"class_type": "Nothing", "inputs": {}}}})
        assert status == 400
        pool.rooms.fleet.disable("gpu-1")
        pool.simulator("gpu-0").pause()
        running = await client.submit(save_graph(3))
        await pool.simulator("gpu-0").held()
        waiting = await client.submit(save_graph(4))
        for path in ("/history/a", "/history/b", "/api/history/c", "/no/such/path"):
            async with client.http.get(client.base + path):
                pass
        yield await scrape(client)
        pool.simulator("gpu-0").resume()
        for job in (running, waiting):
            await client.hear_end(job)


async def test_what_a_pool_at_work_tells(worked):
    found = samples(worked)
    assert value(found, "jobs", state="running") == 1
    assert value(found, "jobs", state="pending") == 1
    assert value(found, "owner_jobs", owner="", state="running") == 1
    assert value(found, "owner_jobs", owner="", state="pending") == 1
    assert value(found, "jobs_accepted_total") == 4
    assert value(found, "jobs_refused_total") == 1
    assert value(found, "jobs_ended_total", state="completed") == 1
    assert value(found, "jobs_ended_total", state="failed") == 1
    assert value(found, "job_waiting_seconds_count") == 3
    assert value(found, "job_running_seconds_count", state="completed") == 1
    ends = {dict(labels)["end"] for name, labels in found if name == "comfy_gateway_attempts_ended_total"}
    assert ends == {"success", "error", "refused", "withdrawn"}
    for name, wanted in {
        "up": 1,
        "busy": 1,
        "held_jobs": 1,
        "capacity_jobs": 1,
        "link_open": 1,
        "takes_work": 1,
    }.items():
        assert value(found, f"runner_{name}", runner="gpu-0") == wanted, name
    assert value(found, "runner_takes_work", runner="gpu-1") == 0
    assert value(found, "runner_state", runner="gpu-1", state="ready") == 1
    assert value(found, "runner_state", runner="gpu-1", state="lost") == 0
    assert value(found, "runner_node_classes", runner="gpu-0") > 10
    assert value(found, "runner_latency_seconds", runner="gpu-0") > 0
    assert value(found, "websockets") == 1
    assert value(found, "websocket_messages_sent_total") > 10
    assert value(found, "database_commit_seconds_count") > 5
    assert value(found, "database_batch_operations_sum") >= value(found, "database_commit_seconds_count")
    assert value(found, "data_free_bytes") > 0


def test_the_docs_name_every_state_and_the_alerts_only_those_that_exist():
    docs = (DOCS / "operations.md").read_text()
    states = {state.value for state in RunnerState}
    row = next(line for line in docs.splitlines() if "`comfy_gateway_runner_state`" in line)
    assert set(re.findall(r"[a-z]+", row.split("that it is in:")[1])) == states
    assert {state for each in expressions() for state in re.findall(r'runner_state\{state="(\w+)"', each)} <= states


async def test_requests_are_counted_by_family(worked):
    found = samples(worked)
    routes = {dict(labels)["route"] for name, labels in found if name == "comfy_gateway_http_requests_total"}
    assert "/history/{prompt_id}" in routes
    assert not [route for route in routes if "history" in route and "{" not in route]
    assert value(found, "http_requests_total", route="/history/{prompt_id}", method="GET", status="200") == 3
    assert value(found, "http_requests_total", route="/prompt", method="POST", status="400") == 1
    timed = {dict(labels)["route"] for name, labels in found if name == "comfy_gateway_http_request_seconds_count"}
    assert "/prompt" in timed
    assert "/ws" not in timed


def expressions():
    alerts = yaml.safe_load((DOCS / "operations" / "alerts.yml").read_text())
    for group in alerts["groups"]:
        for rule in group["rules"]:
            assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
            yield rule["expr"]
    dashboard = json.loads((DOCS / "operations" / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


async def test_alerts_dashboard_and_docs_name_what_exists(worked):
    exist = {family.name: family for family in text_string_to_metric_families(worked)}
    sampled = {sample.name for family in exist.values() for sample in family.samples}
    sampled |= {f"{name}_total" for name, family in exist.items() if family.type == "counter"}
    sampled |= {f"{name}_bucket" for name, family in exist.items() if family.type == "histogram"}
    used = {name for expression in expressions() for name in NAME.findall(expression)}
    assert len(used) > 20
    assert used <= sampled, sorted(used - sampled)
    told = set(re.findall(r"`(comfy_gateway_[a-z_]+)`", (DOCS / "operations.md").read_text()))
    assert told == {
        f"{name}_total" if family.type == "counter" else name
        for name, family in exist.items()
        if name.startswith("comfy_gateway")
    }


def test_the_events_in_the_docs_are_logged_somewhere():
    table = re.search(r"## Logs(.*?)\n## ", (DOCS / "operations.md").read_text(), re.DOTALL)
    rows = [line.split("|") for line in table[1].splitlines() if line.startswith("| `")]
    source = "".join(path.read_text() for path in (DOCS.parent / "gateway").rglob("*.py"))
    events = {event for row in rows for event in re.findall(r"`([a-z_.]+)`", row[1])}
    assert len(events) > 25
    assert [event for event in sorted(events) if f'"{event}"' not in source] == []
    keys = {key for row in rows for key in re.findall(r"`([a-z_.]+)`", row[2])}
    assert [key for key in sorted(keys) if f"{key}=" not in source] == []
