"""Star: one agent in the middle asks the others, all at the same time, and puts it together."""

from __future__ import annotations

import trio

from trio_hub import Hub, HubClient, LocalLink, MemoryKnowledgeStore, ScriptedAgent, Turn

POINTS = ["weather", "trains", "hotels"]


async def planner(turn: Turn) -> str:
    answers: dict[str, str] = {}

    async def ask(point: str) -> None:
        answers[point] = await turn.delegate(point, turn.text)

    async with trio.open_nursery() as nursery:
        for point in POINTS:
            nursery.start_soon(ask, point)
    return " ".join(answers[point] for point in POINTS)


async def traveller(turn: Turn) -> None:
    """Only asks."""


async def main() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        await client.register(ScriptedAgent("weather", ["Sun."]))
        await client.register(ScriptedAgent("trains", ["At nine."]))
        await client.register(ScriptedAgent("hotels", ["One room left."]))
        await client.register(planner)
        asker = await client.register(traveller)
        print(await asker.consult("planner", "A weekend in Bergen"))
        # prints: Sun. At nine. One room left.


if __name__ == "__main__":
    trio.run(main)
