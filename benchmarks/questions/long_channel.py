"""
Does a post cost more when the channel is long?

One conversation, each post awaited; the rate is taken in ten parts from the 100th envelope to
the last, and the last part is held against the first. 1.0 is flat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator

_WARM_UP = 100
_PARTS = 10


async def ask(generator: Generator, posts: int) -> dict[str, float]:
    """Post `posts` envelopes and measure each tenth."""
    alice = await generator.agent("alice")
    bob = await generator.agent("bob")
    channel_id = await alice.open("conversation", bob)
    for _ in range(_WARM_UP):
        await alice.post(channel_id)
    part = (posts - _WARM_UP) // _PARTS
    rates: list[float] = []
    costs: list[float] = []
    for number in range(_PARTS):
        meter = generator.meter()
        for _ in range(part):
            await alice.post(channel_id)
        rates.append(part / meter.seconds())
        await bob.receive(_WARM_UP + (number + 1) * part)
        costs.append(meter.cpu(part)["hub_cpu_us"])
    figures = {
        f"part_{number}_posts_per_second": rate for number, rate in enumerate(rates, start=1)
    }
    return {
        "last_over_first_rate": rates[-1] / rates[0],
        # Against the clock of a busy machine, CPU time is the steadier witness.
        "last_over_first_cpu": costs[-1] / costs[0] if costs[0] else float("nan"),
        "first_hub_cpu_us": costs[0],
        "last_hub_cpu_us": costs[-1],
        **figures,
        **{f"part_{number}_hub_cpu_us": cost for number, cost in enumerate(costs, start=1)},
        # How long the channel was half-way through each part.
        **{
            f"part_{number}_length": _WARM_UP + (number - 0.5) * part
            for number in range(1, _PARTS + 1)
        },
    }
