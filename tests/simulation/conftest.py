"""
How many seeds, and which: ``pytest tests/simulation --seeds 500 --operations 1000``, or
``--seed 123`` to see one run again.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options. They are known where this folder is named on the command line."""
    group = parser.getgroup("simulation")
    group.addoption("--seed", type=int, default=None, help="run this seed of tests/simulation")
    group.addoption("--seeds", type=int, default=25, help="run so many seeds of tests/simulation")
    group.addoption("--first-seed", type=int, default=0, help="... from this one on")
    group.addoption("--operations", type=int, default=200, help="operations in each run")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each seed, so that they spread over processes."""
    if "seed" not in metafunc.fixturenames:
        return
    option = metafunc.config.getoption
    one = option("--seed", None)
    first = option("--first-seed", 0)
    metafunc.parametrize(
        "seed", [one] if one is not None else range(first, first + option("--seeds", 25))
    )


@pytest.fixture
def operations(request: pytest.FixtureRequest) -> int:
    """Return how many operations a run has."""
    count: int = request.config.getoption("--operations", 200)
    return count
