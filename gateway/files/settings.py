"""One user's settings: a JSON object in the user's `comfy.settings.json`. Not async; changes are one at a time.

Rules: ComfyUI app/app_settings.py.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import structlog

from gateway.files.user_files import UserDataRefused, UserFiles, write_whole

SETTINGS_FILE: Final = "comfy.settings.json"
BROKEN_FILE: Final = "comfy.settings.json.broken"
BYTES_MOST: Final = 16 * 1024 * 1024

log = structlog.get_logger(__name__)


def load(files: UserFiles) -> dict[str, Any]:
    """All settings; none where there is no file, or one that is no JSON object. Raises OSError."""
    files.root.mkdir(parents=True, exist_ok=True)
    return _read(files) or {}


def change(files: UserFiles, new: Mapping[str, Any]) -> None:
    """Add to the settings, or replace some. A file that could not be read is kept under another name.

    Raises UserDataRefused 413 past `BYTES_MOST`; OSError.
    """
    path = files.root / SETTINGS_FILE
    known = _read(files)
    content = json.dumps({**(known or {}), **new}, indent=4).encode()
    if len(content) > BYTES_MOST:
        raise UserDataRefused(413, f"more than {BYTES_MOST} bytes of settings")
    if known is None:
        path.replace(files.root / BROKEN_FILE)
    write_whole(path, content)


def _read(files: UserFiles) -> dict[str, Any] | None:
    """None where the file is broken."""
    path = files.root / SETTINGS_FILE
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        log.error("settings.broken", file=str(path), reason=str(error))
        return None
    return found if isinstance(found, dict) else None
