"""Human approval: an agent may publish only what a person has read and agreed to."""

from __future__ import annotations

import trio

from trio_hub import (
    EV_TEXT,
    Hub,
    HubClient,
    HumanClient,
    LocalLink,
    MemoryKnowledgeStore,
    Passport,
    Turn,
)


async def publisher(turn: Turn) -> str:
    # A person may be at lunch: nothing is held up but this turn.
    verdict = await turn.delegate("ruth", f"May this go out? {turn.text}", timeout=8 * 3600)
    return f"published: {turn.text}" if verdict == "yes" else f"kept back: {verdict}"


async def person(ruth: HumanClient) -> None:
    """What a window would do: show what comes, and send what is typed."""
    async for envelope in ruth:
        if envelope.event_type == EV_TEXT:
            answer = "too loud" if envelope.text.endswith("!") else "yes"
            await ruth.send(envelope.channel_id, answer, causation_id=envelope.envelope_id)


async def author(turn: Turn) -> None:
    """Only asks."""


async def main() -> None:
    async with (
        Hub.open(MemoryKnowledgeStore()) as hub,
        HubClient(LocalLink(hub)) as client,
        trio.open_nursery() as nursery,
    ):
        ruth = await client.register_human(Passport(name="ruth"))
        nursery.start_soon(person, ruth)
        await client.register(publisher)
        writer = await client.register(author)
        for draft in ("We have moved", "BUY NOW!"):
            print(await writer.consult("publisher", draft, timeout=60))
        # prints: published: We have moved
        # prints: kept back: too loud
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main)
