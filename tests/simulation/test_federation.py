"""Many seeds, no violation: what crosses between three hubs arrives, once and in order."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .three_hubs import CHANNELS, run_three_hubs

#: Of each agent in each channel, and so many faults. A seed is to be cheap.
OPERATIONS = 6
POSTS = OPERATIONS * sum(len(members) for members in CHANNELS)


def test_seed_of_three_hubs_loses_nothing_and_does_nothing_twice(seed: int) -> None:
    outcome = run_three_hubs(seed, OPERATIONS)
    if outcome.violations:
        command = f"pytest tests/simulation/test_federation.py --seed {seed}"
        lines = "\n".join([*outcome.faults, *outcome.violations[:20]])
        pytest.fail(f"seed {seed}: {command}\n{lines}", pytrace=False)
    assert len(outcome.said) == POSTS
    assert len(outcome.faults) >= OPERATIONS // 2


@pytest.mark.parametrize("once", [0, 1])
def test_seed_of_three_hubs_replays_identically(once: int) -> None:
    first, again = (run_three_hubs(once, OPERATIONS) for _ in range(2))
    assert first.digest() == again.digest()


def test_seed_of_three_hubs_replays_identically_in_another_process() -> None:
    program = (
        "from tests.simulation.three_hubs import run_three_hubs; "
        f"print(run_three_hubs(3, {OPERATIONS}).digest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1
