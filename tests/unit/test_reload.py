import asyncio

import pytest
from structlog.testing import capture_logs

from gateway.config import Config, load_config
from gateway.logging import configure_logging
from gateway.reload import Reloader
from gateway.runners.changes import Change, ChangeKind, difference

FILE = "runners: [{name: gpu-0, endpoint: 'http://a'}]\n"


class RecordedFleet:
    def __init__(self, config):
        self.runners = config.runners
        self.applied = []
        self.failure = None
        self.done = asyncio.Event()

    async def apply(self, wanted):
        self.done.set()
        if self.failure is not None:
            raise self.failure
        changes = difference(self.runners, wanted)
        self.runners = wanted
        self.applied.append([(change.kind.value, change.name) for change in changes])
        return changes


@pytest.fixture
def reload(tmp_path):
    """Writes the file anew and reloads it; returns whether it was taken, the fleet and the log."""
    path = tmp_path / "config.yaml"
    path.write_text(FILE)
    config = load_config(path, {})
    fleet = RecordedFleet(config)
    reloader = Reloader(config, lambda: load_config(path, {}), fleet)

    async def write_and_reload(text):
        path.write_text(text)
        with capture_logs() as logs:
            taken = await reloader.reload()
        return taken, fleet, logs

    write_and_reload.reloader, write_and_reload.fleet = reloader, fleet
    return write_and_reload


def told(logs, event):
    return [record for record in logs if record["event"] == event]


async def test_the_difference_of_the_runners_is_applied(reload):
    taken, fleet, logs = await reload("runners: [{name: gpu-1, endpoint: 'http://b'}]")
    assert taken
    assert fleet.applied == [[("added", "gpu-1"), ("removed", "gpu-0")]]
    assert told(logs, "reload.done")[0]["runners"] == ["added gpu-1", "removed gpu-0"]
    assert not told(logs, "reload.needs_restart")


async def test_a_wrong_file_is_refused_with_all_its_faults(reload):
    taken, fleet, logs = await reload("runners: [{name: gpu-1, endpoint: nowhere}]\nserver: {prot: 1}")
    assert not taken
    assert fleet.applied == []
    faults = [record["fault"] for record in told(logs, "reload.fault")]
    assert len(faults) == 2
    assert any("runners[0].endpoint" in fault for fault in faults)
    assert told(logs, "reload.refused")
    assert (await reload(FILE))[0]


async def test_what_needs_a_restart_is_named_until_it_is_taken_back(reload):
    for _ in range(2):
        _, _, logs = await reload(FILE + "server: {port: 9000}\nqueue: {max_pending: 5}")
        assert told(logs, "reload.needs_restart")[0]["sections"] == ["queue", "server"]
    _, _, logs = await reload(FILE)
    assert not told(logs, "reload.needs_restart")


async def test_another_policy_needs_a_restart(reload):
    for section in ("policy: least_work", "patience_seconds: 5", "weights: {anna: 3}", "keep_warm: [a.safetensors]"):
        _, _, logs = await reload(FILE + f"scheduling: {{{section}}}")
        assert told(logs, "reload.needs_restart")[0]["sections"] == ["scheduling"]


async def test_the_log_changes_at_once(reload):
    import logging

    root = logging.getLogger()
    level = root.level
    try:
        assert (await reload(FILE + "log: {level: error}"))[0]
        assert root.level == logging.ERROR
    finally:
        configure_logging(Config(runners=()).log)
        root.setLevel(level)


async def test_a_reload_that_fails_does_not_keep_the_next_from_being_tried(reload):
    reload.fleet.failure = RuntimeError("a fault of the gateway's own")
    task = asyncio.create_task(reload.reloader.run())
    for _ in range(2):
        reload.fleet.done.clear()
        reload.reloader.want()
        await asyncio.wait_for(reload.fleet.done.wait(), 20)
    task.cancel()


def runner(name, **keys):
    return Config.model_validate({"runners": [{"name": name, "endpoint": "http://a", **keys}]}).runners[0]


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"tags": ["a"]}, ChangeKind.CHANGED),
        ({"prefetch": 4}, ChangeKind.CHANGED),
        ({"status": "drain"}, ChangeKind.CHANGED),
        ({"weight": 2}, ChangeKind.CHANGED),
        ({"reserved_for": ("vip",)}, ChangeKind.CHANGED),
        ({"endpoint": "http://b"}, ChangeKind.RECONNECTED),
        ({"headers": {"X-Key": "k"}}, ChangeKind.RECONNECTED),
    ],
)
def test_what_a_change_is(keys, kind):
    becomes = runner("gpu-0", **keys)
    assert difference([runner("gpu-0")], [becomes]) == [Change(kind, becomes, tuple(keys))]


def test_no_difference():
    assert (
        difference(
            [runner("a", headers={"X-Key": "k"}), runner("b")], [runner("b"), runner("a", headers={"X-Key": "k"})]
        )
        == []
    )
