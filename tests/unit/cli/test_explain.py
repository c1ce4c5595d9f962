"""What `comfy-gateway explain` prints."""

from gateway.cli.explain import lines_of

NOW = 1_700_000_000_000


def test_a_job_that_waits():
    job = {
        "id": "x",
        "state": "pending",
        "reason": None,
        "position": 3,
        "started_at": None,
        "expected": {"start": NOW + 12_000, "end": NOW + 21_000, "earliest": NOW + 15_000, "latest": NOW + 600_000},
        "placement": {
            "runner": None,
            "reason": "2 jobs are due before it",
            "runners": [{"runner": "gpu-0", "reason": "fits"}],
        },
        "attempts": [{"ordinal": 1, "runner": "gpu-1", "state": "lost", "reason": "gone"}],
    }
    assert lines_of(job, NOW) == [
        "x is pending",
        "place 3 in the line",
        "begins in 12 s, ends in 21 s (nine of ten: in 15 s to in 10 min)",
        "waits: 2 jobs are due before it",
        "  gpu-0: fits",
        "attempt 1 on gpu-1 is lost: gone",
    ]


def test_a_job_that_has_ended():
    assert lines_of({"id": "x", "state": "failed", "reason": "no"}, NOW) == ["x is failed: no"]
