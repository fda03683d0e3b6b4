"""The kit can be imported where pytest and Hypothesis are not installed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
sys.modules["pytest"] = sys.modules["hypothesis"] = None  # as if they were not there
import trio_hub.testing as kit
print(kit.FrozenLoop, kit.FaultyLink, kit.SimulatedNetwork, kit.Recorder, kit.assert_holds)
"""


def test_kit_needs_neither_pytest_nor_hypothesis() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True)


def test_strategies_and_machines_need_no_pytest() -> None:
    program = """
import sys
sys.modules["pytest"] = None
import trio_hub.testing.strategies, trio_hub.testing.machines
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
