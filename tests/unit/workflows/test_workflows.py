"""What is asked of workflows for every job that completes."""

from types import SimpleNamespace

from gateway.clock import Clock
from gateway.workflows.workflows import Workflows


class ClosedBook:
    """A database that fails whoever looks into it."""

    async def flushed(self):
        raise AssertionError("asked to write what waits")

    async def read(self, _):
        raise AssertionError("looked into")


async def test_where_there_never_was_a_workflow_nobody_looks_for_one():
    jobs = SimpleNamespace(registry=SimpleNamespace(watchers=[]))
    workflows = Workflows(ClosedBook(), jobs, None, None, Clock())
    assert await workflows.files_of("a native job") == ("", [])
