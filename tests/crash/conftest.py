"""Where the numbers of the command line arrive."""

from __future__ import annotations

import random

import pytest


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """Return how often a hub is to be killed (``--kills``)."""
    count: int = request.config.getoption("--kills")
    return count


@pytest.fixture
def power_cuts(request: pytest.FixtureRequest) -> int:
    """Return how often the power is to be cut (``--power-cuts``)."""
    count: int = request.config.getoption("--power-cuts")
    return count


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    """Return what makes the choices; its seed is printed where a test fails (``--crash-seed``)."""
    seed = request.config.getoption("--crash-seed")
    if seed is None:
        seed = random.SystemRandom().randrange(2**32)
    print(f"--crash-seed {seed}")  # noqa: T201  pytest shows it with a failure
    return random.Random(seed)
