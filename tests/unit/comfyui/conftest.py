"""What real ComfyUI servers answered, scenario by scenario, and pieces of it that several tests need."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"


@pytest.fixture(scope="session")
def new() -> dict[str, Any]:
    return json.loads((RECORDINGS / "comfyui-0.33.0.json").read_text())


@pytest.fixture(scope="session")
def old() -> dict[str, Any]:
    return json.loads((RECORDINGS / "comfyui-0.3.64.json").read_text())


@pytest.fixture(scope="session", params=["new", "old"])
def recording(request: pytest.FixtureRequest) -> dict[str, Any]:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def frames_in() -> Callable[[Any], Iterator[dict[str, Any]]]:
    """Every websocket frame anywhere in a recording."""

    def walk(value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, dict):
            if "t" in value and ("text" in value or "binary_len" in value):
                yield value
                return
            value = list(value.values())
        for item in value if isinstance(value, list) else ():
            yield from walk(item)

    return walk


@pytest.fixture(scope="session")
def history_in() -> Callable[[Any], dict[str, Any]]:
    """Every history entry anywhere in a recording, by id."""

    def collect(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            if isinstance(item, dict) and set(item) == {"prompt", "outputs", "status", "meta"}:
                found[key] = item
            else:
                found |= collect(item)
        return found

    return collect
