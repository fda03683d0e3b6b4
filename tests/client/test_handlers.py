"""The default handler: invites, turns, and never two replies to one envelope."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub.client import AgentClient, FunctionAgent, ScriptedAgent, Turn
from trio_hub.errors import AccessDeniedError, ProtocolError
from trio_hub.records import (
    EV_CHANNEL_CLOSED,
    EV_CHANNEL_INVITE,
    EV_EXPECTATION_VIOLATED,
    EV_TEXT,
    Envelope,
    Passport,
)
from trio_hub.wire.frames import Dialect, NotifyFrame, ReceiptFrame

from .conftest import Connect
from .scripted_hub import PeerConnection, ScriptedHub, text_for


class ChannelOnHub:
    """One channel on a scripted hub: who said what, and what state it is in."""

    def __init__(self, hub: ScriptedHub) -> None:
        self.state = "active"
        self.can_send = True
        self.posted: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.reads: list[tuple[int, int]] = []
        hub.answers |= {
            "get_channel": self._metadata,
            "can_send": lambda _params: self.can_send,
            "find_envelope_by_causation": self._find,
            "post_envelope": self._post,
            "read_wal": self._read,
            "read_tail": self._read_tail,
        }

    def _metadata(self, params: dict[str, str]) -> object:
        return {
            "channel_id": params["channel_id"],
            "manifest": {"type": "consulting"},
            "creator_id": "somebody",
            "participants": [],
            "state": self.state,
            "created_at": "",
        }

    def _find(self, params: dict[str, str]) -> object:
        for envelope in self.posted:
            if envelope["causation_id"] == params["causation_id"]:
                return envelope
        return None

    def _post(self, params: dict[str, Any]) -> str:
        self.posted.append(params["envelope"])
        return "e1"

    def _read(self, params: dict[str, int]) -> object:
        self.reads.append((params["since"], params["until"]))
        return self.log[params["since"] : params["until"]]

    def _read_tail(self, params: dict[str, int]) -> object:
        stop = len(self.log) if params["before"] is None else params["before"]
        start = max(0, stop - params["limit"])
        self.reads.append((start, stop))
        return {"start": start, "envelopes": self.log[start:stop]}


@pytest.fixture
def channel(hub: ScriptedHub) -> ChannelOnHub:
    return ChannelOnHub(hub)


async def ack(peer: PeerConnection, frame: NotifyFrame) -> None:
    """Deliver and see it settled."""
    peer.send(frame)
    receipt = await peer.next(ReceiptFrame)
    assert (receipt.envelope_id, receipt.status) == (frame.envelope.envelope_id, "ack")


async def test_an_invite_is_accepted_under_a_key_of_its_own(
    connect: Connect, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        frame = text_for(bob.agent_id, event_type=EV_CHANNEL_INVITE)
        await ack(peer, frame)
        (accepted,) = channel.posted
        assert accepted["event_type"] == "ag2.channel.invite.ack"
        assert accepted["event_data"] == {"channel_id": "c1"}
        assert accepted["audience"] is None
        assert accepted["causation_id"] == frame.envelope.envelope_id
        assert frame.envelope.envelope_id in accepted["idempotency_key"]


@pytest.mark.parametrize(
    "event_type",
    [EV_CHANNEL_CLOSED, EV_EXPECTATION_VIOLATED, "ag2.task.started", "app.thing"],
)
async def test_bookkeeping_is_settled_without_a_word(
    connect: Connect, channel: ChannelOnHub, event_type: str, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        await ack(peer, text_for(bob.agent_id, event_type=event_type))
    assert channel.posted == []


async def test_a_text_is_answered_with_its_id_as_the_cause(
    connect: Connect, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    agent = ScriptedAgent("bob", ["forty-two"])
    async with connect() as (client, peer):
        bob = await client.register(agent)
        frame = text_for(bob.agent_id, "what?", attempt=3)
        await ack(peer, frame)
    (reply,) = channel.posted
    assert reply["event_type"] == EV_TEXT
    assert reply["event_data"] == {"text": "forty-two"}
    assert reply["sender_id"] == bob.agent_id
    assert reply["causation_id"] == frame.envelope.envelope_id
    assert reply["idempotency_key"] == f"reply:{bob.agent_id}:{frame.envelope.envelope_id}"
    (turn,) = agent.turns
    assert (turn.text, turn.attempt, turn.sender_name) == ("what?", 3, "name of somebody")
    assert turn.agent is bob
    assert turn.channel.channel_id == "c1"


@pytest.mark.parametrize("silence", [None, ""])
async def test_silence_is_not_posted(
    connect: Connect, channel: ChannelOnHub, silence: str | None, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", [silence]))
        await ack(peer, text_for(bob.agent_id))
    assert channel.posted == []


@pytest.mark.parametrize("why", ["closed", "not its turn", "answered before"])
async def test_the_agent_is_not_asked_when_it_has_nothing_to_say(
    connect: Connect, channel: ChannelOnHub, why: str, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        frame = text_for(bob.agent_id)
        if why == "closed":
            channel.state = "closed"
        elif why == "not its turn":
            channel.can_send = False
        else:
            channel.posted.append(msgspec.to_builtins(frame.envelope))
            channel.posted[0]["causation_id"] = frame.envelope.envelope_id
        before = len(channel.posted)
        await ack(peer, frame)
        assert len(channel.posted) == before


async def test_an_agent_that_raises_is_asked_again_when_the_envelope_comes_again(
    connect: Connect, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    attempts: list[int] = []

    async def answer(turn: Turn) -> str:
        attempts.append(turn.attempt)
        if turn.attempt == 1:
            raise RuntimeError("the model is out")
        return "better now"

    async with connect() as (client, peer):
        bob = await client.register(answer, Passport(name="bob"))
        frame = text_for(bob.agent_id)
        peer.send(frame)
        assert (await peer.next(ReceiptFrame)).status == "nack"
        await wait_all_tasks_blocked()
        await ack(peer, text_for(bob.agent_id, envelope_id=frame.envelope.envelope_id, attempt=2))
    assert attempts == [1, 2]
    assert [post["event_data"]["text"] for post in channel.posted] == ["better now"]


async def test_of_two_processes_that_race_the_slower_one_is_content(
    connect: Connect, hub: ScriptedHub, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    del hub.answers["post_envelope"]
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", ["mine"]))
        frame = text_for(bob.agent_id)
        peer.send(frame)
        request = await peer.next_request("post_envelope")
        channel.posted.append({**msgspec.json.decode(request.params)["envelope"]})
        peer.refuse(request, ProtocolError("the same key with other content"))
        assert (await peer.next(ReceiptFrame)).status == "ack"


async def test_a_reply_that_is_refused_is_a_nack(
    connect: Connect, hub: ScriptedHub, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    del hub.answers["post_envelope"]
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", ["mine", "mine"]))
        for error in (ProtocolError("not now"), AccessDeniedError("not you")):
            peer.send(text_for(bob.agent_id))
            peer.refuse(await peer.next_request("post_envelope"), error)
            assert (await peer.next(ReceiptFrame)).status == "nack"


@pytest.mark.parametrize(
    ("dialect", "reads"),
    [
        (Dialect.BATCHED, [(297, 301), (293, 297)]),
        # AG2's hubs can only be asked for everything.
        (Dialect.PLAIN, [(0, None)]),
    ],
)
async def test_history_is_what_was_said_before_and_reads_no_more_than_it_shows(
    connect: Connect,
    channel: ChannelOnHub,
    autojump_clock: MockClock,
    dialect: Dialect,
    reads: list[tuple[int, int | None]],
) -> None:
    shown: list[list[str]] = []

    async def answer(turn: Turn) -> None:
        shown.append([envelope.text for envelope in await turn.history(limit=3)])

    async with connect(dialect) as (client, peer):
        bob = await client.register(FunctionAgent("bob", answer))
        said = [text_for(bob.agent_id, str(number)) for number in range(300)]
        bookkeeping = [text_for(bob.agent_id, event_type=EV_CHANNEL_CLOSED)]
        channel.log = [
            msgspec.to_builtins(frame.envelope)
            for frame in [*said[:298], *bookkeeping, *said[298:]]
        ]
        await ack(peer, said[299])
    assert shown == [["296", "297", "298"]]
    assert channel.reads == reads


async def test_a_script_that_is_over_says_so(
    connect: Connect, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", ["only this"]))
        await ack(peer, text_for(bob.agent_id))
        peer.send(text_for(bob.agent_id, "and now?"))
        receipt = await peer.next(ReceiptFrame)
        assert receipt.status == "nack"
        assert "the script of 'bob' is over" in receipt.reason
        assert "and now?" in receipt.reason


async def test_what_is_no_agent_is_refused_with_what_it_needs(
    connect: Connect, autojump_clock: MockClock
) -> None:
    async with connect() as (client, _peer):
        with pytest.raises(TypeError, match="async def ask"):
            await client.register(42, Passport(name="bob"))  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="no name"):
            await client.register(42)  # type: ignore[arg-type]


async def test_pending_turns_are_taken_up(
    connect: Connect, hub: ScriptedHub, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", ["late, but here"]))
        frame = text_for(bob.agent_id, "still there?")
        channel.log = [msgspec.to_builtins(frame.envelope)]
        hub.answers["pending_turns_for"] = lambda _params: [
            {
                "channel_id": "c1",
                "triggering_envelope_id": frame.envelope.envelope_id,
                "expected_at": "",
            },
            {"channel_id": "c2", "triggering_envelope_id": None, "expected_at": ""},
        ]
        assert await bob.resume_pending_turns() == 1
        assert [post["event_data"]["text"] for post in channel.posted] == ["late, but here"]
        assert await bob.resume_pending_turns() == 1
        assert len(channel.posted) == 1, "nothing is said twice"
        await wait_all_tasks_blocked()
        assert peer.nothing_came()


async def test_a_hub_that_knows_only_how_to_list_all_pending_turns_will_do(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    async with connect() as (client, _peer):
        bob = await client.register(ScriptedAgent("bob", []))
        hub.answers["pending_turns_for"] = lambda _params: [
            {"channel_id": it, "triggering_envelope_id": None, "expected_at": ""}
            for it in ("c1", "c2", "c3")
        ]
        turns = await client.pending_turns_for(bob.agent_id, channel_id="c2")
        assert [it.channel_id for it in turns] == ["c2"]


async def test_an_agent_can_be_handled_differently(
    connect: Connect, channel: ChannelOnHub, autojump_clock: MockClock
) -> None:
    attempts: list[int] = []

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        attempts.append(attempt)

    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        bob.handle_with(handler)
        await ack(peer, text_for(bob.agent_id, attempt=4))
    assert attempts == [4]
