"""What holds for every test: where the browser is, and what happens to browser tests without one."""

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings
from support.leaks import Leaks

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


# How long an input takes to make says how busy the machine is; the first on a fresh checkout makes Unicode's tables.
settings.register_profile("tests", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("tests")


def find_chromium() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=5, help="how often tests/integration/test_many_kills.py kills")
    parser.addoption("--inputs", type=int, default=1_000, help="how many inputs tests/fuzz tries")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Leaks(config), "leaks")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("browser") and find_chromium() is None:
        reason = f"no Chromium on this machine (looked for {', '.join(BROWSERS)})"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The system's Chromium, for playwright's `executable_path`; tests that use it carry the mark `browser`."""
    path = find_chromium()
    assert path, "mark tests that use chromium_path with pytest.mark.browser"
    return path
