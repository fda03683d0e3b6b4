"""
Hypothesis profiles, for every test below; what speaks WebSocket; how often crash tests break things.

`default` is quick; ``HYPOTHESIS_PROFILE=deep`` runs each property on 5,000 examples of 50 steps.
"""

from __future__ import annotations

import os

import hypothesis
import pytest

from trio_hub.links import transport

# Machines share their cores with other work, so no example is failed for being slow.
_COMMON = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.register_profile("default", _COMMON, max_examples=40, stateful_step_count=40)
hypothesis.settings.register_profile("deep", _COMMON, max_examples=5_000, stateful_step_count=50)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what tests below understand; pytest asks for options here, before it goes there."""
    parser.addoption(
        "--transport",
        choices=transport.TRANSPORTS,
        default="auto",
        help="what speaks WebSocket wherever a test does not say",
    )
    group = parser.getgroup("crash")
    group.addoption("--kills", type=int, default=6, help="how often tests/crash kills a process")
    group.addoption(
        "--power-cuts", type=int, default=25, help="how often tests/crash cuts the power"
    )
    group.addoption("--crash-seed", type=int, default=None, help="make a crash test choose alike")


def pytest_configure(config: pytest.Config) -> None:
    """Let "auto" be what was asked for."""
    chosen = config.getoption("--transport")
    if chosen != "auto":
        transport.AUTO_ORDER = (chosen,)
