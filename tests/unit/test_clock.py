import pytest

from gateway.clock import iso_8601


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_705_314_600_000, "2024-01-15T10:30:00.000Z"),
        (1_705_314_600_250, "2024-01-15T10:30:00.250Z"),
        (1_705_314_600_250.7, "2024-01-15T10:30:00.250Z"),
    ],
)
def test_times_as_text(milliseconds, text):
    assert iso_8601(milliseconds) == text
