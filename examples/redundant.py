"""Redundancy: everybody who can do it is asked, and the first answer that two agree on counts."""

from __future__ import annotations

from collections import Counter

import trio

from trio_hub import (
    AgentClient,
    Hub,
    HubClient,
    LocalLink,
    MemoryKnowledgeStore,
    Resume,
    ScriptedAgent,
    Turn,
)


async def first_agreed(asker: AgentClient, question: str, *, capability: str, votes: int) -> str:
    able = await asker.hub_client.list_agents(capability=capability)
    counts: Counter[str] = Counter()
    agreed = ""

    async with trio.open_nursery() as nursery:

        async def ask(name: str) -> None:
            nonlocal agreed
            answer = await asker.consult(name, question)
            counts[answer] += 1
            if counts[answer] == votes:
                agreed = answer
                # Whoever has not answered yet is not waited for, and stops working on it.
                nursery.cancel_scope.cancel()

        for passport in able:
            nursery.start_soon(ask, passport.name)
    return agreed


async def dan(turn: Turn) -> str:
    """Thinks for ever, or until nobody wants to know any more."""
    await trio.sleep_forever()
    raise AssertionError("it woke up")


async def quizmaster(turn: Turn) -> None:
    """Only asks."""


async def main() -> None:
    sums = Resume(claimed_capabilities=("sums",))
    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        await client.register(ScriptedAgent("ada", ["42"]), resume=sums)
        await client.register(ScriptedAgent("bob", ["41"]), resume=sums)
        await client.register(ScriptedAgent("cy", ["42"]), resume=sums)
        await client.register(dan, resume=sums)
        asker = await client.register(quizmaster)
        print(await first_agreed(asker, "six times seven", capability="sums", votes=2))
        # prints: 42


if __name__ == "__main__":
    trio.run(main)
