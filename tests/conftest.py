"""
Hypothesis profiles, for every test below.

`default` is quick; ``HYPOTHESIS_PROFILE=deep`` runs each property on 5,000 examples of 50 steps.
"""

from __future__ import annotations

import os

import hypothesis

# Machines share their cores with other work, so no example is failed for being slow.
_COMMON = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.register_profile("default", _COMMON, max_examples=40, stateful_step_count=40)
hypothesis.settings.register_profile("deep", _COMMON, max_examples=5_000, stateful_step_count=50)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
