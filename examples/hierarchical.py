"""Hierarchy: a director splits the work for two leads, who split it for their own people."""

from __future__ import annotations

import trio

from trio_hub import (
    FunctionAgent,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    ScriptedAgent,
    Turn,
)
from trio_hub.client import AgentFunction

REPORTS = {
    "director": ["words", "pictures"],
    "words": ["writer", "translator"],
    "pictures": ["painter"],
}


def manager(name: str) -> AgentFunction:
    async def ask_all(turn: Turn) -> str:
        answers: dict[str, str] = {}

        async def ask(report: str) -> None:
            answers[report] = await turn.delegate(report, turn.text)

        async with trio.open_nursery() as nursery:
            for report in REPORTS[name]:
                nursery.start_soon(ask, report)
        return f"{name}({', '.join(answers[report] for report in REPORTS[name])})"

    return ask_all


async def customer(turn: Turn) -> None:
    """Only asks."""


async def main() -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        for name in REPORTS:
            await client.register(FunctionAgent(name, manager(name)))
        await client.register(ScriptedAgent("writer", ["a poem"]))
        await client.register(ScriptedAgent("translator", ["ein Gedicht"]))
        await client.register(ScriptedAgent("painter", ["a whale"]))
        asker = await client.register(customer)
        print(await asker.consult("director", "whales"))
        # prints: director(words(a poem, ein Gedicht), pictures(a whale))


if __name__ == "__main__":
    trio.run(main)
