"""How many inputs are tried: a few in every run of the tests, as many as ``--inputs`` says in ``make fuzz``."""

import pytest
from hypothesis import HealthCheck, Phase, settings

OVER_HTTP = 0.05  # of all inputs


@pytest.fixture(scope="session")
def inputs(request) -> int:
    return request.config.getoption("--inputs")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "over_http: inputs go to a running gateway, and are fewer")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shares the inputs between the tests here, and sets Hypothesis up for each."""
    ours = [item for item in items if "fuzz" in item.path.parts and hasattr(item.obj, "hypothesis")]
    count = config.getoption("--inputs")
    http = [item for item in ours if item.get_closest_marker("over_http")]
    pure = [item for item in ours if item not in http]
    for group, share in ((http, OVER_HTTP), (pure, 1 - OVER_HTTP)):
        for item in group:
            item.obj = settings(
                max_examples=max(5, int(count * share / len(group))),
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )(item.obj)
