"""Where the time of a run went, told as a story of messages."""

import pytest

from gateway.comfyui import messages
from gateway.jobs.timing import Timing


def hear(timing, *story):
    for at, kind, data in story:
        timing.hear(messages.make(kind, data), at)
    return timing


def test_a_loader_that_runs_tells_what_its_files_take():
    timing = hear(
        Timing({"1": ("a.safetensors",)}),
        (0.0, "execution_start", {}),
        (0.1, "execution_cached", {"nodes": ["7"]}),
        (0.2, "executing", {"node": "1"}),
        (8.2, "executing", {"node": "4"}),
        (8.7, "progress", {"value": 1, "max": 3, "node": "4"}),
        (9.2, "progress", {"value": 2, "max": 3, "node": "4"}),
        (9.7, "progress", {"value": 3, "max": 3, "node": "4"}),
        (9.8, "execution_success", {}),
    )
    assert timing.loaded == {"a.safetensors": pytest.approx(8.0)}
    assert timing.unaccounted == pytest.approx(0.0)
    assert timing.seconds == pytest.approx(9.8)
    assert timing.cached == {"7"}


def test_a_sampler_whose_first_step_comes_late_was_loading():
    timing = hear(
        Timing({}),
        (0.0, "execution_start", {}),
        (0.0, "executing", {"node": "4"}),
        (6.5, "progress", {"value": 1, "max": 3}),
        (7.0, "progress", {"value": 2, "max": 3}),
        (7.5, "progress", {"value": 3, "max": 3}),
        (7.6, "execution_success", {}),
    )
    assert timing.unaccounted == pytest.approx(6.0)
    assert timing.loading == pytest.approx(6.0)


def test_one_step_tells_nothing_and_an_end_that_was_not_heard_gives_no_time():
    timing = hear(
        Timing({}),
        (1.0, "executing", {"node": "4"}),
        (6.5, "progress", {"value": 1, "max": 1}),
        (7.0, "executing", {"node": "5"}),
    )
    assert (timing.unaccounted, timing.seconds) == (0.0, None)


def test_progress_of_another_node_is_passed_over():
    timing = hear(
        Timing({}),
        (0.0, "executing", {"node": "4"}),
        (5.0, "progress", {"value": 1, "node": "9"}),
        (5.1, "progress", {"value": 2, "node": "9"}),
        (6.0, "execution_success", {}),
    )
    assert timing.unaccounted == 0.0
