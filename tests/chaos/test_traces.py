"""The checker of traces tells legal ones from others."""

import pytest
from chaos.traces import DONE, GAP, fault_in

HEAD = ["execution_start", "execution_cached"]
WORK = ["executing", "progress_state", "progress", "executed"]
END = ["execution_success", DONE]


@pytest.mark.parametrize(
    ("trace", "lost"),
    [
        ([*HEAD, *WORK, *END], 0),
        ([*HEAD, *WORK, *HEAD, *WORK, *END], 1),
        (["execution_error", DONE], 0),
        ([*HEAD, GAP, *END], 0),
        ([*HEAD, GAP], 0),
        ([GAP, *HEAD, "executed", "executing", *END], 0),
        ([*HEAD, *WORK, GAP, *HEAD, *WORK, *END], 0),
        ([*HEAD, *END, GAP], 0),
        ([*HEAD, *END, GAP, "executed", *END], 0),
        ([*HEAD, *END, GAP, *END], 0),
    ],
)
def test_legal(trace, lost):
    assert fault_in(trace, lost=lost) is None


@pytest.mark.parametrize(
    ("trace", "lost"),
    [
        ([], 0),
        ([*HEAD, *WORK], 0),
        ([*HEAD, *WORK, "execution_success"], 0),
        (END, 0),
        (["executing", *END], 0),
        ([*HEAD, *HEAD, *END], 0),
        ([*HEAD, *HEAD, *HEAD, *END], 1),
        ([*HEAD, DONE], 0),
        ([*HEAD, *END, *END], 1),
        ([*HEAD, *END, GAP, "executing"], 0),
        ([*HEAD, *END, *HEAD], 1),
        ([*HEAD, *END, "executed"], 0),
        ([*HEAD, *END, GAP, "executed", "executing"], 0),
        ([*HEAD, *END, GAP, *HEAD], 1),
        ([*HEAD, "execution_cached", *END], 0),
    ],
)
def test_illegal(trace, lost):
    assert fault_in(trace, lost=lost) is not None


def test_job_that_never_begins_is_told_nothing():
    assert fault_in([], whole=False) is None
