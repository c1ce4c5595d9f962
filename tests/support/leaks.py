"""Looks over the whole test run for access tokens: in everything that was logged, and in every file that was left. A
pytest plugin, registered by ``tests/conftest.py``.

Left out are configurations, which tests write themselves, and what tests print that are about showing a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SECRET = re.compile(rb"cg[ws]_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])")
WRITTEN_BY_TESTS = {".yaml", ".yml", ".env", ".py"}
LOGGED = ("log", "stdout", "stderr")  # sections of a report; the gateway's log goes to one of them
WORKER_FOUND = "leaked"


class Leaks:
    """Finds of one process; xdist's workers hand theirs to the one that reports."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.found: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A test's output. Only of tests that do not show tokens on purpose."""
        if "shows_tokens" in report.keywords:
            return
        for name, text in report.sections:
            if any(part in name for part in LOGGED) and SECRET.search(text.encode("utf-8", "replace")):
                self.found.append(f"{report.nodeid}: {name}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """The files of this process's tests; a find fails the run."""
        factory = getattr(session.config, "_tmp_path_factory", None)
        if factory is not None and factory._basetemp is not None:
            self.found += [str(path) for path in self._files_with_secrets(factory._basetemp)]
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[WORKER_FOUND] = self.found
        elif self.found and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_testnodedown(self, node: object) -> None:
        """A worker has ended."""
        self.found += getattr(node, "workeroutput", {}).get(WORKER_FOUND, [])

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Names where tokens were found."""
        for place in sorted(set(self.found)):
            terminalreporter.write_line(f"LEAKED an access token: {place}", red=True)

    def _files_with_secrets(self, folder: Path) -> Iterator[Path]:
        for path in folder.rglob("*"):
            if path.is_symlink() or not path.is_file() or path.suffix in WRITTEN_BY_TESTS:
                continue
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue  # removed meanwhile, as a database's journal by its closing
            if SECRET.search(content):
                yield path
