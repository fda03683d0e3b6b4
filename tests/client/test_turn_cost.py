"""A turn costs the same however long its channel is: counted in reads, frames and bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from trio_hub import (
    EV_CHANNEL_INVITE,
    AgentClient,
    Channel,
    Envelope,
    FullTranscript,
    Hub,
    HubClient,
    InboxBlock,
    LimitsBlock,
    Line,
    LocalLink,
    MemoryKnowledgeStore,
    Rule,
    ScriptedAgent,
    Turn,
    WindowedSummary,
    handler_with,
)
from trio_hub.client import accept_invite
from trio_hub.hub.channels import ChannelBook
from trio_hub.links.local import LocalStream

AT_ONCE = 200
ROOMY = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))


class CountedStore(MemoryKnowledgeStore):
    """Counts what is read from it."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    async def read(self, path: str) -> bytes | None:
        self.counts["reads"] += 1
        return await super().read(path)

    async def read_range(self, path: str, start: int, stop: int | None = None) -> list[bytes]:
        records = await super().read_range(path, start, stop)
        self.counts["reads"] += 1
        self.counts["records"] += len(records)
        return records


async def listen(envelope: Envelope, client: AgentClient, attempt: int) -> None:
    if envelope.event_type == EV_CHANNEL_INVITE:
        await accept_invite(envelope, client)


async def say(channel: Channel, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, AT_ONCE):
        async with trio.open_nursery() as nursery:
            for number in range(start, min(start + AT_ONCE, numbers.stop)):
                nursery.start_soon(channel.send, f"{number:05}")


async def test_it_reads_and_sends_as_much_after_10_000_envelopes_as_after_100(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = CountedStore()
    counts = store.counts
    asked: list[tuple[Turn, list[Line]]] = []

    async def answer(turn: Turn) -> str:
        asked.append((turn, await turn.lines()))
        return "yes"

    real = LocalStream.send_messages

    async def send_messages(self: Any, messages: Sequence[bytes]) -> None:
        counts["messages"] += len(messages)
        counts["bytes"] += sum(map(len, messages))
        await real(self, messages)

    monkeypatch.setattr(LocalStream, "send_messages", send_messages)
    handler = handler_with(WindowedSummary(20))

    async with Hub.open(store) as hub, HubClient(LocalLink(hub)) as client:
        bob = await client.register(answer, handler=listen, rule=ROOMY)
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)
        channel = await alice.open(type="conversation", target=bob.agent_id)

        async def one_turn() -> Counter[str]:
            """Let what was said come to rest, and count what one more question takes."""
            await trio.testing.wait_all_tasks_blocked(0.05)
            envelope_id = await channel.send("well?")
            envelope = await channel.find(envelope_id)
            assert envelope is not None
            await trio.testing.wait_all_tasks_blocked(0.05)
            counts.clear()
            await handler(envelope, bob, 1)
            await trio.testing.wait_all_tasks_blocked(0.05)
            return counts.copy()

        await say(channel, range(100))
        await one_turn()  # what is asked once only, such as names
        short = await one_turn()
        await say(channel, range(100, 10_000))
        long = await one_turn()

    assert len(asked) == 3
    _turn, lines = asked[-1]
    assert [line.role for line in lines] == ["system", *["user"] * 20]
    assert long["records"] == short["records"] <= 64
    assert long["reads"] == short["reads"]
    assert long["messages"] == short["messages"]
    # Positions in the log have more digits.
    assert abs(long["bytes"] - short["bytes"]) <= 64


async def test_what_others_say_among_themselves_and_bookkeeping_cost_a_turn_nothing() -> None:
    store = CountedStore()
    seen: list[list[str]] = []

    async def answer(turn: Turn) -> None:
        seen.append([line.text for line in await turn.lines()])

    async with Hub.open(store) as hub, HubClient(LocalLink(hub)) as bobs:
        bob = await bobs.register(answer, handler=listen, rule=ROOMY)
        async with HubClient(LocalLink(hub)) as others:
            alice = await others.register(ScriptedAgent("alice", []), handler=listen)
            carol = await others.register(ScriptedAgent("carol", []), handler=listen, rule=ROOMY)
            channel = await alice.open(type="discussion", target=["answer", "carol"])
            await channel.send("for all to hear", event_type="app.said")

            async def chatter(times: int) -> None:
                for _ in range(times):
                    await channel.send("psst", event_type="app.said", audience=[carol.agent_id])
                    await channel.send(event_type="ag2.task.progress", event_data={})

            async def one_turn() -> Counter[str]:
                envelope = await channel.find(await channel.send("well?", event_type="app.said"))
                assert envelope is not None
                await trio.testing.wait_all_tasks_blocked(0.05)
                store.counts.clear()
                turn = Turn(
                    text="",
                    envelope=envelope,
                    channel=await bob.channel(channel.channel_id),
                    agent=bob,
                    sender_name="alice",
                    view=WindowedSummary(2),
                )
                await answer(turn)
                return store.counts.copy()

            await chatter(20)
            await one_turn()
            short = await one_turn()
            await chatter(200)
            await one_turn()  # Looks through what has come, once.
            long = await one_turn()
    assert seen[0] == ["for all to hear"]
    assert long["records"] <= short["records"] + 8
    assert long["reads"] <= short["reads"] + 1


async def test_to_look_for_a_turn_in_one_channel_costs_as_much_with_100_others_as_with_5(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = CountedStore()
    counts = store.counts
    real_send, real_warm = LocalStream.send_messages, ChannelBook.warm

    async def send_messages(self: Any, messages: Sequence[bytes]) -> None:
        counts["messages"] += len(messages)
        counts["bytes"] += sum(map(len, messages))
        await real_send(self, messages)

    async def warm(self: ChannelBook, channel: Any) -> Any:
        counts["channels looked at"] += 1
        return await real_warm(self, channel)

    monkeypatch.setattr(LocalStream, "send_messages", send_messages)
    monkeypatch.setattr(ChannelBook, "warm", warm)

    async with Hub.open(store) as hub, HubClient(LocalLink(hub)) as client:
        bob = await client.register(ScriptedAgent("bob", []), handler=listen, rule=ROOMY)
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)

        async def ask_in_others(times: int) -> None:
            for _ in range(times):
                await (await alice.open(type="consulting", target="bob")).send("well?")

        async def look() -> Counter[str]:
            await trio.testing.wait_all_tasks_blocked(0.05)
            counts.clear()
            (turn,) = await client.pending_turns_for(bob.agent_id, channel_id=channel.channel_id)
            assert turn.triggering_envelope_id == asked
            await trio.testing.wait_all_tasks_blocked(0.05)
            return counts.copy()

        channel = await alice.open(type="consulting", target="bob")
        asked = await channel.send("well?")
        await ask_in_others(5)
        await look()
        few = await look()
        await ask_in_others(95)
        many = await look()
        assert len(await client.pending_turns_for(bob.agent_id)) == 101
    # Numbers of requests have more digits.
    assert abs(many.pop("bytes") - few.pop("bytes")) <= 8
    assert many == few
    assert many["messages"] == 2
    assert many["channels looked at"] == 1


async def test_a_full_transcript_shows_everything() -> None:
    seen: list[list[Line]] = []

    async def answer(turn: Turn) -> None:
        seen.append(await turn.lines())

    async with Hub.open(MemoryKnowledgeStore()) as hub, HubClient(LocalLink(hub)) as client:
        bob = await client.register(answer, handler=listen, rule=ROOMY)
        alice = await client.register(ScriptedAgent("alice", []), handler=listen)
        channel = await alice.open(type="conversation", target=bob.agent_id)
        await say(channel, range(600))
        envelope = await channel.find(await channel.send("well?"))
        assert envelope is not None
        await handler_with(FullTranscript())(envelope, bob, 1)
    (lines,) = seen
    assert sorted(line.text for line in lines) == [f"{number:05}" for number in range(600)]
