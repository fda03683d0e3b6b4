"""Context-aware routing: a variable of the channel decides who answers."""

from __future__ import annotations

import trio

from trio_hub import (
    AgentTarget,
    ContextEquals,
    Finish,
    FromSpeaker,
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Transition,
    TransitionGraph,
)
from trio_hub.client import Turn

GRAPH = TransitionGraph(
    initial_speaker="customer",
    transitions=[
        Transition(when=ContextEquals("tier", "gold"), then=AgentTarget("concierge")),
        Transition(when=FromSpeaker("customer"), then=AgentTarget("desk"), priority=1),
    ],
)


async def nobody(turn: Turn) -> None:
    """The customer only asks."""


async def concierge(turn: Turn) -> Finish:
    return Finish("At once.", reason="concierge")


async def desk(turn: Turn) -> Finish:
    return Finish("Please take a number.", reason="desk")


async def main() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        await client.register(FunctionAgent("concierge", concierge))
        await client.register(FunctionAgent("desk", desk))
        customer = await client.register(FunctionAgent("customer", nobody))
        for tier in ("silver", "gold"):
            channel = await customer.open(
                type="workflow", target=["concierge", "desk"], knobs={"graph": GRAPH}
            )
            await channel.set_context("tier", tier)
            await channel.send("May I come in?")
            end = await customer.wait_for_channel_event(
                channel_id=channel.channel_id,
                predicate=lambda it: it.event_type == "ag2.channel.closed",
                timeout=10,
            )
            print(tier, end.event_data["reason"])
    # prints: silver desk
    # prints: gold concierge


if __name__ == "__main__":
    trio.run(main)
