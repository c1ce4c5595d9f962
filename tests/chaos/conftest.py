"""The options of the runs under faults, and the seeds that they ask for."""

import pytest

SEEDS = 200


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("chaos")
    group.addoption("--seeds", type=int, default=SEEDS, help="how many seeds tests/chaos runs, from 0 or --first-seed")
    group.addoption("--first-seed", type=int, default=0)
    group.addoption("--seed", type=int, default=None, help="replay this seed only, with its whole timeline")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chaos_seed" in metafunc.fixturenames:
        metafunc.parametrize("chaos_seed", seeds_of(metafunc.config))


def seeds_of(config: pytest.Config) -> list[int]:
    """pytest only knows the options when this folder is named in its command."""
    one = config.getoption("seed", None)
    first = config.getoption("first_seed", 0)
    return [one] if one is not None else list(range(first, first + config.getoption("seeds", SEEDS)))
