"""Pipeline: each agent works on what the one before it made, and the last one ends it."""

from __future__ import annotations

import trio

from trio_hub import (
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    TransitionGraph,
)
from trio_hub.client import Turn

STEPS = ["editor", "collector", "cleaner", "counter"]


async def nobody(turn: Turn) -> None:
    """The editor only asks."""


async def collector(turn: Turn) -> str:
    return f"  {turn.text},  two words "


async def cleaner(turn: Turn) -> str:
    return " ".join(turn.text.split())


async def counter(turn: Turn) -> str:
    return f"{len(turn.text.split())} words: {turn.text}"


async def main() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        for name, answer in (("collector", collector), ("cleaner", cleaner), ("counter", counter)):
            await client.register(FunctionAgent(name, answer))
        editor = await client.register(FunctionAgent("editor", nobody))
        graph = TransitionGraph.sequence(STEPS)
        channel = await editor.open(type="workflow", target=STEPS[1:], knobs={"graph": graph})
        await channel.send("one")
        await editor.wait_for_channel_event(
            channel_id=channel.channel_id,
            predicate=lambda it: it.event_type == "ag2.channel.closed",
            timeout=10,
        )
        said = [it.text for it in await channel.history()]
        print(said[-1])  # prints: 3 words: one, two words


if __name__ == "__main__":
    trio.run(main)
