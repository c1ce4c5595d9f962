import pytest

from gateway.files.named import written_last
from gateway.storage.files import OutputRow, UploadRow

OUTPUT = OutputRow("output", "", "a.png", "gpu-0", "", "a.png", "job-1", 10)


def upload(modified_at):
    return UploadRow("", "output", "", "a.png", "ab" * 32, 5, 1, modified_at)


@pytest.mark.parametrize(("modified_at", "wins"), [(9, "output"), (10, "upload"), (11, "upload")])
def test_what_was_written_last_counts(modified_at, wins):
    assert written_last(OUTPUT, upload(modified_at)) == (OUTPUT if wins == "output" else upload(modified_at))


def test_what_is_there_alone():
    assert written_last(OUTPUT, None) is OUTPUT
    assert written_last(None, upload(1)) == upload(1)
    assert written_last(None, None) is None
