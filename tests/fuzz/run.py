"""
Run the mutator against the decoder for as many messages as you like, and report in JSON::

    python -m tests.fuzz.run --inputs 10000000 --seed 1

A finding ends the run with status 1; its message is printed as a Python literal, for a test.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import traceback

from .invariant import check
from .mutator import mutated

__all__ = ["fuzz"]

_FINDINGS_MAX = 20


def fuzz(inputs: int, seed: int) -> dict[str, object]:
    """Check so many messages, and return what came of it."""
    rng = random.Random(seed)
    began = time.monotonic()
    frames = characters = done = 0
    findings: dict[str, str] = {}
    for done in range(1, inputs + 1):  # noqa: B007 - reported below
        message = mutated(rng)
        characters += len(message)
        try:
            frames += check(message)
        except BaseException as error:
            if not isinstance(error, Exception):
                raise
            where = traceback.extract_tb(error.__traceback__)[-1]
            # One message for each place is enough.
            findings.setdefault(f"{type(error).__name__} at {where.name}", repr(message))
            if len(findings) >= _FINDINGS_MAX:
                break
    return {
        "inputs": done,
        "seed": seed,
        "good_frames": frames,
        "characters": characters,
        "seconds": round(time.monotonic() - began, 1),
        "findings": findings,
    }


def main() -> int:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    report = fuzz(arguments.inputs, arguments.seed)
    print(json.dumps(report, indent=2))  # noqa: T201
    return 1 if report["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
