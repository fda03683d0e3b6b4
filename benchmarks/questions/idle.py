"""
How much memory of the hub does it take to be connected, and to be an agent, and say nothing?

First agents on a connection each, then agents that share one connection: what the hub's resident
memory grows by, over their number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.plain_load import Generator

# What a hub takes for the first of anything is not what it takes for one more.
_WARM_UP = 20


async def ask(generator: Generator, connections: int, agents: int) -> dict[str, float]:
    """Let `connections` come with an agent each, then `agents` more on one of them."""
    shared = await generator.agent("shared")
    for number in range(_WARM_UP):
        await generator.agent(f"early-{number}")
        await shared.register_another(f"early-shared-{number}")
    meter = generator.meter()
    for number in range(connections):
        await generator.agent(f"connected-{number}")
    for_connections = meter.hub_grown_kb()
    meter = generator.meter()
    for number in range(agents):
        await shared.register_another(f"shared-{number}")
    return {
        "kb_per_connection": for_connections / connections,
        "kb_per_shared_agent": meter.hub_grown_kb() / agents,
    }
