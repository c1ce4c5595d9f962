"""Other people's clients, installed once into .artefacts/ and used from there by all workers of a test run."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.resources
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ARTEFACTS = Path(__file__).parents[2] / ".artefacts"
INSTALL_SECONDS = 600


def frontend(version: str) -> Path:
    """The folder of the files of that version of the stock frontend."""
    if importlib.metadata.version("comfyui-frontend-package") == version:
        return Path(str(importlib.resources.files("comfyui_frontend_package"))) / "static"
    package = f"comfyui-frontend-package=={version}"

    def install(folder: Path) -> None:
        _run(*_pip(sys.executable), "--target", str(folder), "--no-deps", package)

    return _installed(ARTEFACTS / "frontends" / version, package, install) / "comfyui_frontend_package" / "static"


def python_with(name: str, *requirements: str) -> Path:
    """The folder of the programs of a virtual environment that has these packages and none of this project."""

    def install(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", str(folder))
        _run(*_pip(str(folder / "bin" / "python")), *requirements)

    return _installed(ARTEFACTS / "venvs" / name, " ".join(requirements), install) / "bin"


def node_modules(*packages: str) -> Path:
    """A folder from which node finds these packages; skips without node, fails under CI=true."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        unavailable("node and npm are not on this machine")
        raise AssertionError

    def install(folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        _run(npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *packages, cwd=folder)

    return _installed(ARTEFACTS / "npm", " ".join(packages), install)


def unavailable(reason: str) -> None:
    """Skips the test; under CI=true, where everything has to be there, fails it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _installed(folder: Path, what: str, install: Callable[[Path], None]) -> Path:
    """The folder with what `install` puts there, which is done again when `what` changes or was cut short."""
    stamp = folder / ".installed"
    with _locked(folder.with_name(folder.name + ".lock")):
        if not stamp.is_file() or stamp.read_text() != what:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                install(folder)
            except (OSError, subprocess.SubprocessError) as error:
                said = getattr(error, "stderr", "") or ""
                unavailable(f"{what} could not be installed: {error}\n{said[-2000:]}")
            stamp.write_text(what)
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _pip(python: str) -> tuple[str, ...]:
    return (python, "-m", "pip", "--disable-pip-version-check", "--no-input", "-qq", "install")


def _run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
