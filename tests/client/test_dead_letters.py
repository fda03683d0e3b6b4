"""An agent sees to its own dead letters, and an operator to everybody's."""

from __future__ import annotations

import pytest
import trio

from trio_hub.client import AgentClient, HubClient, Turn, default_handler
from trio_hub.errors import AccessDeniedError, NotFoundError
from trio_hub.hub import Hub
from trio_hub.links import LocalLink
from trio_hub.protocol.delivery_policy import DeliveryPolicy
from trio_hub.records import EV_TEXT, Envelope, KeptLetter, Passport
from trio_hub.stores import MemoryKnowledgeStore


async def silence(_turn: Turn) -> None:
    return None


async def test_what_a_handler_failed_on_is_read_replayed_and_discarded(
    autojump_clock: trio.testing.MockClock,
) -> None:
    working = False
    done: list[tuple[str, int]] = []

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        if envelope.event_type != EV_TEXT:
            await default_handler(envelope, client, attempt)
        elif not working:
            raise ValueError("not today")
        else:
            done.append((envelope.event_data["text"], attempt))

    async with (
        Hub.open(
            MemoryKnowledgeStore(),
            delivery=DeliveryPolicy(max_attempts=2),
            operators=["ops"],
            allow_unauthenticated_operators=True,
        ) as hub,
        HubClient(LocalLink(hub)) as bobs,
        HubClient(LocalLink(hub)) as others,
    ):
        bob = await bobs.register(silence, Passport(name="bob"), handler=handler)
        alice = await others.register(silence, Passport(name="alice"))
        channel = await alice.open(type="conversation", target="bob")
        a, b = [await channel.send(word) for word in "ab"]
        await trio.sleep(600)

        page = await bob.dead_letters(limit=1)
        [letter] = page.letters
        assert isinstance(letter, KeptLetter)
        assert (letter.envelope_id, letter.attempts) == (a, 2)
        assert letter.reason == "ValueError: not today"
        rest = await bob.dead_letters(after=page.after)
        assert [it.envelope_id for it in rest.letters] == [b]

        # Others cannot, until one of them is an operator.
        with pytest.raises(AccessDeniedError):
            await others.list_dead_letters(bob.agent_id)
        await others.register(silence, Passport(name="ops"))
        assert len((await others.list_dead_letters()).letters) == 2
        assert (await others.health())["dead_letters"] == 2

        assert (await bob.read_dead_letter(a)).text == "a"
        working = True
        assert (await bob.replay_dead_letter(a)).replaying
        await bob.discard_dead_letter(b)
        await trio.sleep(1)
        assert done == [("a", 3)]
        assert (await bob.dead_letters()).letters == ()
        with pytest.raises(NotFoundError):
            await bob.replay_dead_letter(a)
