"""Feedback loop: a reviewer sends the work back to the writer until it is good enough."""

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
)
from trio_hub.client import Turn


async def nobody(turn: Turn) -> None:
    """The publisher only asks."""


async def writer(turn: Turn) -> str:
    return f"{turn.text}!"


async def reviewer(turn: Turn) -> Handoff | Finish:
    if turn.text.endswith("!!!"):
        return Finish(f"Accepted: {turn.text}", reason="accepted")
    return Handoff("writer", reason=turn.text)


async def main() -> None:
    graph = TransitionGraph(
        initial_speaker="publisher",
        transitions=[
            Transition(when=FromSpeaker("publisher"), then=AgentTarget("writer")),
            Transition(when=FromSpeaker("writer"), then=AgentTarget("reviewer")),
        ],
        max_turns=20,  # so that two who never agree come to an end
    )
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        await client.register(FunctionAgent("writer", writer))
        await client.register(FunctionAgent("reviewer", reviewer))
        publisher = await client.register(FunctionAgent("publisher", nobody))
        channel = await publisher.open(
            type="workflow", target=["writer", "reviewer"], knobs={"graph": graph}
        )
        await channel.send("Hello")
        end = await publisher.wait_for_channel_event(
            channel_id=channel.channel_id,
            predicate=lambda it: it.event_type == "ag2.channel.closed",
            timeout=10,
        )
        print(end.event_data["reason"])  # prints: accepted
        print((await channel.history())[-1].text)  # prints: Accepted: Hello!!!


if __name__ == "__main__":
    trio.run(main)
