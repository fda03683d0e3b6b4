"""Reading a channel from its end, and opening one under a key."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from trio_hub import EV_TEXT, Envelope, Hub, MemoryKnowledgeStore, Passport, ProtocolError
from trio_hub.records import EV_CHANNEL_INVITE_ACK


async def two_in_a_conversation(hub: Hub, key: str) -> tuple[str, str, str]:
    """Register alice and bob; open a conversation under `key`; return all three ids."""
    alice = (await hub.register(Passport(name="alice"))).agent_id
    bob = (await hub.register(Passport(name="bob"))).agent_id
    assert alice is not None
    assert bob is not None
    async with trio.open_nursery() as nursery:

        async def accept() -> None:
            while not (channels := hub.list_channels(agent_id=bob)):
                await trio.testing.wait_all_tasks_blocked()
            await hub.post_envelope(
                Envelope(
                    channel_id=channels[0].channel_id,
                    sender_id=bob,
                    event_type=EV_CHANNEL_INVITE_ACK,
                    event_data={},
                )
            )

        nursery.start_soon(accept)
        metadata = await hub.create_channel(
            creator_id=alice,
            manifest_type="conversation",
            participants=[bob],
            idempotency_key=key,
        )
    return alice, bob, metadata.channel_id


async def test_the_tail_of_a_log_is_read_page_by_page_from_its_end(
    autojump_clock: MockClock,
) -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub:
        alice, _, channel_id = await two_in_a_conversation(hub, "k")
        for number in range(10):
            await hub.post_envelope(
                Envelope(
                    channel_id=channel_id,
                    sender_id=alice,
                    event_type=EV_TEXT,
                    event_data={"text": str(number)},
                )
            )
        before: int | None = None
        pages: list[list[str]] = []
        while before != 0:
            before, records = await hub.read_tail_records(channel_id, 4, before=before)
            pages.append([it.envelope.text for it in records if it.envelope is not None])
        # The invite, the ack and the opening stand at the beginning.
        assert pages == [["6", "7", "8", "9"], ["2", "3", "4", "5"], ["", "", "0", "1"], [""]]


async def test_only_what_is_wanted_counts_towards_a_tail(autojump_clock: MockClock) -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub:
        alice, bob, channel_id = await two_in_a_conversation(hub, "k")
        for number in range(20):
            await hub.post_envelope(
                Envelope(
                    channel_id=channel_id,
                    sender_id=bob if number == 3 else alice,
                    event_type=EV_TEXT,
                    event_data={"text": str(number)},
                )
            )
        start, records = await hub.read_tail_records(
            channel_id,
            1,
            wanted=lambda it: (
                it.envelope is not None
                and it.envelope.sender_id == bob
                and it.envelope.event_type == EV_TEXT
            ),
        )
        assert [it.position for it in records] == [6]
        assert start <= 6
        assert records[0].envelope is not None
        assert records[0].envelope.text == "3"


async def test_opening_again_under_the_same_key_gives_the_channel_that_is_there(
    autojump_clock: MockClock,
) -> None:
    store = MemoryKnowledgeStore()
    async with Hub.open(store) as hub:
        alice, bob, channel_id = await two_in_a_conversation(hub, "k")
        again = await hub.create_channel(
            creator_id=alice, manifest_type="conversation", participants=[bob], idempotency_key="k"
        )
        assert again.channel_id == channel_id
    async with Hub.open(store) as hub:
        again = await hub.create_channel(
            creator_id=alice, manifest_type="conversation", participants=[bob], idempotency_key="k"
        )
        assert again.channel_id == channel_id
        assert len(hub.list_channels(agent_id=alice)) == 1


async def test_a_key_whose_channel_was_not_opened_fails_the_same_way_again(
    autojump_clock: MockClock,
) -> None:
    async with Hub.open(MemoryKnowledgeStore()) as hub:
        alice = (await hub.register(Passport(name="alice"))).agent_id
        bob = (await hub.register(Passport(name="bob"))).agent_id
        assert alice is not None
        assert bob is not None
        for _ in range(2):
            with pytest.raises(ProtocolError, match="was not opened: invite_timeout"):
                await hub.create_channel(
                    creator_id=alice,
                    manifest_type="conversation",
                    participants=[bob],
                    idempotency_key="k",
                )
        assert len(hub.list_channels()) == 1
