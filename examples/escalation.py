"""Escalation: whoever cannot decide hands the case to the next one up."""

from __future__ import annotations

import trio

from trio_hub import (
    AgentTarget,
    Finish,
    FromSpeaker,
    FunctionAgent,
    Handoff,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Transition,
    TransitionGraph,
    Turn,
)
from trio_hub.client import AgentFunction

# Up to how much each may decide alone; the last one decides everything.
LIMITS = {"clerk": 100, "supervisor": 1_000, "director": 1_000_000}
NAMES = list(LIMITS)


def decider(name: str) -> AgentFunction:
    async def decide(turn: Turn) -> Handoff | Finish:
        if int(turn.text) <= LIMITS[name]:
            return Finish(f"refund {turn.text}", reason=name)
        return Handoff(NAMES[NAMES.index(name) + 1], reason=turn.text)

    return decide


async def nobody(turn: Turn) -> None:
    """The customer only asks."""


async def main() -> None:
    graph = TransitionGraph(
        initial_speaker="customer",
        transitions=[Transition(when=FromSpeaker("customer"), then=AgentTarget("clerk"))],
        max_turns=10,
    )
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        for name in NAMES:
            await client.register(FunctionAgent(name, decider(name)))
        customer = await client.register(FunctionAgent("customer", nobody))
        for amount in ("40", "700", "9000"):
            channel = await customer.open(type="workflow", target=NAMES, knobs={"graph": graph})
            await channel.send(amount)
            end = await customer.wait_for_channel_event(
                channel_id=channel.channel_id,
                predicate=lambda it: it.event_type == "ag2.channel.closed",
                timeout=10,
            )
            print(amount, "by the", end.event_data["reason"])
    # prints: 40 by the clerk
    # prints: 700 by the supervisor
    # prints: 9000 by the director


if __name__ == "__main__":
    trio.run(main)
