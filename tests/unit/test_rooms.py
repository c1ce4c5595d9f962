"""The floors of the house (docs/architecture.md): a room imports only from its own floor or below."""

import ast
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parents[2] / "gateway"

FLOORS = [
    {"clock", "tasks", "redaction"},
    {"comfyui"},
    {"config", "storage"},
    {"runners"},
    {"files", "scheduling"},
    {"jobs"},
    {"sessions", "webhooks", "workflows"},
    {"access", "metrics"},
    {"api"},
    {"logging", "check", "doctor", "tls"},
    {"signals", "reload"},
    {"app"},
    {"serving"},
    {"demo"},
    {"cli", "__main__"},
]
ALONE = {"simulator": {"comfyui"}}  # knows what ComfyUI speaks, and nothing else of the gateway
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room_of(path: Path) -> str:
    return path.relative_to(GATEWAY).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "gateway" else [f"gateway.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("gateway.")}
    return found


@pytest.mark.parametrize("path", sorted(GATEWAY.rglob("*.py")), ids=lambda path: str(path.relative_to(GATEWAY)))
def test_a_room_imports_from_its_floor_or_below(path):
    room = room_of(path)
    if room == "__init__":
        return
    used = imported_rooms(path) - {room}
    if room in ALONE:
        assert used <= ALONE[room]
        return
    allowed = {other for other, level in LEVEL.items() if level <= LEVEL[room]}
    if room in ("demo", "cli"):
        allowed |= {"simulator"}
    assert used <= allowed, f"imports from above: {sorted(used - allowed)}"
