"""What a name means that a job's file and an upload share: uploads take names of outputs only with ``overwrite``."""

from __future__ import annotations

from gateway.storage.files import OutputRow, UploadRow


def written_last(output: OutputRow | None, upload: UploadRow | None) -> OutputRow | UploadRow | None:
    """The one that was written over the other, as on one server's disk; None where there is neither."""
    if output is None or upload is None:
        return output or upload
    return upload if upload.modified_at >= output.created_at else output
