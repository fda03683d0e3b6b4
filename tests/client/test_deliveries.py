"""What the client does with envelopes: in order, side by side, settled once, bounded."""

from __future__ import annotations

import attrs
import msgspec
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_hub.client import AgentClient, HubClient, ScriptedAgent
from trio_hub.records import EV_CHANNEL_INVITE, Envelope
from trio_hub.wire.frames import Dialect, HelloFrame, ReceiptFrame, WelcomeFrame

from .conftest import Connect
from .scripted_hub import ScriptedHub, text_for


class Gatekeeper:
    """A handler that a test lets through, envelope by envelope."""

    def __init__(self) -> None:
        self.entered: list[tuple[str, int]] = []
        self.left: list[str] = []
        self._gates: dict[str, trio.Event] = {}

    def open(self, text: str) -> None:
        self._gates.setdefault(text, trio.Event()).set()

    async def __call__(self, envelope: Envelope, client: AgentClient, attempt: int) -> None:
        self.entered.append((envelope.text, attempt))
        await self._gates.setdefault(envelope.text, trio.Event()).wait()
        self.left.append(envelope.text)

    @property
    def inside(self) -> set[str]:
        return {text for text, _ in self.entered} - set(self.left)


async def register(client: HubClient, handler: object, name: str = "bob") -> AgentClient:
    return await client.register(ScriptedAgent(name, []), handler=handler)  # type: ignore[arg-type]


async def test_one_channel_is_handled_one_after_another_and_acked_after_the_handler(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect() as (client, peer):
        bob = await register(client, gate)
        frames = [text_for(bob.agent_id, text) for text in ("a", "b", "c")]
        peer.send(*frames)
        for frame in frames:
            await wait_all_tasks_blocked()
            text = frame.envelope.text
            assert gate.inside == {text}
            assert peer.nothing_came(), "no receipt before the handler is done"
            gate.open(text)
            receipt = await peer.next(ReceiptFrame)
            assert receipt == ReceiptFrame(
                envelope_id=frame.envelope.envelope_id,
                status="ack",
                recipient_id=bob.agent_id,
                channel_id="c1",
            )


async def test_channels_are_handled_side_by_side_but_no_more_than_may_be(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect(max_handlers=2) as (client, peer):
        bob = await register(client, gate)
        peer.send(*(text_for(bob.agent_id, f"in {n}", channel_id=f"c{n}") for n in range(4)))
        await wait_all_tasks_blocked()
        assert len(gate.inside) == 2
        gate.open(gate.entered[0][0])
        await wait_all_tasks_blocked()
        assert len(gate.inside) == 2
        for number in range(4):
            gate.open(f"in {number}")
        for _ in range(4):
            assert (await peer.next(ReceiptFrame)).status == "ack"


async def test_what_expired_here_stays_so_when_it_comes_again(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect() as (client, peer):
        bob = await register(client, gate)
        slow, late, young = (text_for(bob.agent_id, text) for text in ("slow", "late", "young"))
        late = attrs.evolve(late, envelope=attrs.evolve(late.envelope, ttl_seconds=5))
        peer.send(slow, late, young)
        await trio.sleep(5)
        for text in ("slow", "late", "young"):
            gate.open(text)
        for _ in range(3):
            await peer.next(ReceiptFrame)
        # A hub whose clock was set back takes it for one that is in time.
        peer.send(late)
        receipt = await peer.next(ReceiptFrame)
        assert (receipt.envelope_id, receipt.reason) == (late.envelope.envelope_id, "expired")
        assert gate.left == ["slow", "young"]
        # A restored log knows nothing of it, and may never have heard of its end.
        bob.identity.deliveries.forget_settled()
        peer.send(late)
        assert (await peer.next(ReceiptFrame)).reason == ""
        assert gate.left == ["slow", "young", "late"]


async def test_what_waited_behind_another_for_longer_than_its_ttl_is_not_handled(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect() as (client, peer):
        bob = await register(client, gate)
        slow, late, in_time, free = (
            text_for(bob.agent_id, text) for text in ("slow", "late", "in time", "0 is none")
        )
        peer.send(
            slow,
            *(
                attrs.evolve(it, envelope=attrs.evolve(it.envelope, ttl_seconds=ttl))
                for it, ttl in ((late, 5), (in_time, 5.1), (free, 0))
            ),
        )
        await trio.sleep(5)
        for text in ("slow", "late", "in time", "0 is none"):
            gate.open(text)
        receipts = [await peer.next(ReceiptFrame) for _ in range(4)]
        assert [(it.envelope_id, it.status, it.reason) for it in receipts] == [
            (slow.envelope.envelope_id, "ack", ""),
            (late.envelope.envelope_id, "ack", "expired"),
            (in_time.envelope.envelope_id, "ack", ""),
            (free.envelope.envelope_id, "ack", ""),
        ]
        assert gate.left == ["slow", "in time", "0 is none"]
        # No position that it states speaks for what it has not handled.
        assert bob.identity.deliveries.positions() == {"c1": slow.envelope.envelope_id}


async def test_invites_do_not_wait_for_busy_handlers(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect(max_handlers=1) as (client, peer):
        bob = await register(client, gate)
        peer.send(text_for(bob.agent_id, "busy"))
        invite = text_for(bob.agent_id, "invite", channel_id="c2", event_type=EV_CHANNEL_INVITE)
        peer.send(invite)
        gate.open("invite")
        receipt = await peer.next(ReceiptFrame)
        assert receipt.envelope_id == invite.envelope.envelope_id
        assert gate.inside == {"busy"}


async def test_a_handler_that_raises_is_a_nack_and_a_report_and_the_channel_goes_on(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    reports: list[dict[str, str]] = []
    hub.answers["report_turn_failure"] = reports.append

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        if envelope.text == "bad":
            raise ZeroDivisionError("by nothing")

    async with connect() as (client, peer):
        bob = await register(client, handler)
        bad, good = text_for(bob.agent_id, "bad"), text_for(bob.agent_id, "good")
        peer.send(bad, good)
        nack = await peer.next(ReceiptFrame)
        assert (nack.envelope_id, nack.status) == (bad.envelope.envelope_id, "nack")
        assert nack.reason == "ZeroDivisionError: by nothing"
        ack = await peer.next(ReceiptFrame)
        assert (ack.envelope_id, ack.status) == (good.envelope.envelope_id, "ack")
    assert reports == [
        {
            "channel_id": "c1",
            "agent_id": bob.agent_id,
            "envelope_id": bad.envelope.envelope_id,
            "error": "by nothing",
        }
    ]


async def test_several_errors_at_once_are_a_nack_too(
    connect: Connect, autojump_clock: MockClock
) -> None:
    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])

    async with connect() as (client, peer):
        bob = await register(client, handler)
        peer.send(text_for(bob.agent_id))
        assert (await peer.next(ReceiptFrame)).status == "nack"


async def test_a_failed_envelope_that_comes_again_is_handled_before_younger_ones_that_wait(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    seen: list[tuple[str, int]] = []
    del hub.answers["report_turn_failure"]

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        seen.append((envelope.text, attempt))
        if envelope.text == "1" and attempt == 1:
            raise ValueError

    async with connect() as (client, peer):
        bob = await register(client, handler)
        frames = [text_for(bob.agent_id, str(number)) for number in (1, 2, 3)]
        peer.send(*frames)
        assert (await peer.next(ReceiptFrame)).status == "nack"
        report = await peer.next_request("report_turn_failure")
        # A hub sends again at once: from the one that failed on, in order.
        peer.send(*(attrs.evolve(frame, attempt=2) for frame in frames))
        peer.answer(report, None)
        for frame in frames:
            receipt = await peer.next(ReceiptFrame)
            assert (receipt.envelope_id, receipt.status) == (frame.envelope.envelope_id, "ack")
    assert seen == [("1", 1), ("1", 2), ("2", 1), ("3", 1)]


async def test_what_was_settled_is_acked_again_and_not_handled_again(
    connect: Connect, autojump_clock: MockClock
) -> None:
    seen: list[str] = []

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        seen.append(envelope.text)

    async with connect() as (client, peer):
        bob = await register(client, handler)
        frame = text_for(bob.agent_id, "once")
        for _ in range(3):
            peer.send(frame)
            receipt = await peer.next(ReceiptFrame)
            assert (receipt.envelope_id, receipt.status) == (frame.envelope.envelope_id, "ack")
    assert seen == ["once"]


async def test_what_is_being_handled_or_waits_here_is_passed_over(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect() as (client, peer):
        bob = await register(client, gate)
        handled, waiting = text_for(bob.agent_id, "handled"), text_for(bob.agent_id, "waiting")
        peer.send(handled, waiting)
        await wait_all_tasks_blocked()
        peer.send(handled, waiting, handled, waiting)
        await wait_all_tasks_blocked()
        gate.open("handled")
        gate.open("waiting")
        assert (await peer.next(ReceiptFrame)).envelope_id == handled.envelope.envelope_id
        assert (await peer.next(ReceiptFrame)).envelope_id == waiting.envelope.envelope_id
        await wait_all_tasks_blocked()
        assert peer.nothing_came()
    assert [text for text, _ in gate.entered] == ["handled", "waiting"]


async def test_an_envelope_for_nobody_here_gets_no_receipt(
    connect: Connect, autojump_clock: MockClock
) -> None:
    async with connect() as (client, peer):
        await register(client, Gatekeeper())
        peer.send(text_for("somebody-else"))
        await wait_all_tasks_blocked()
        assert peer.nothing_came()


async def test_without_a_recipient_the_audience_says_for_whom(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    gate.open("hello")
    async with connect() as (client, peer):
        bob = await register(client, gate)
        frame = text_for("")
        peer.send(
            attrs.evolve(frame, envelope=attrs.evolve(frame.envelope, audience=(bob.agent_id,)))
        )
        assert (await peer.next(ReceiptFrame)).recipient_id == bob.agent_id


async def test_what_arrives_right_behind_the_answer_to_register_is_not_lost(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    gate.open("first")
    stamp = hub.answers.pop("register")
    async with connect() as (client, peer), trio.open_nursery() as nursery:

        async def answer() -> None:
            request = await peer.next_request("register")
            peer.answer(request, stamp(msgspec.json.decode(request.params)))
            peer.send(text_for("id-bob", "first"))

        nursery.start_soon(answer)
        await register(client, gate)
        assert (await peer.next(ReceiptFrame)).status == "ack"
    assert gate.left == ["first"]


async def test_handlers_may_ask_the_hub_while_others_arrive(
    connect: Connect, hub: ScriptedHub, autojump_clock: MockClock
) -> None:
    hub.answers["find_agent_id"] = lambda params: "id of " + params["name"]
    found: list[str | None] = []

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        found.append(await client.hub_client.find_agent_id(envelope.text))

    async with connect() as (client, peer):
        bob = await register(client, handler)
        peer.send(*(text_for(bob.agent_id, str(n), channel_id=f"c{n % 3}") for n in range(9)))
        for _ in range(9):
            assert (await peer.next(ReceiptFrame)).status == "ack"
    assert sorted(map(str, found)) == sorted(f"id of {n}" for n in range(9))


@pytest.mark.parametrize("dialect", list(Dialect))
async def test_an_overrun_agent_lets_go_and_asks_for_the_rest_when_it_has_caught_up(
    connect: Connect, hub: ScriptedHub, dialect: Dialect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect(dialect, max_in_flight=4) as (client, peer):
        bob = await register(client, gate)
        frames = [text_for(bob.agent_id, str(number)) for number in range(10)]
        unsettled = dict.fromkeys(frame.envelope.envelope_id for frame in frames)

        def replay(hello: HelloFrame) -> WelcomeFrame:
            nursery.start_soon(send_unsettled)
            return hub.welcome(hello)

        async def send_unsettled() -> None:
            peer.send(*(one for one in frames if one.envelope.envelope_id in unsettled))

        hub.welcomes = replay
        async with trio.open_nursery() as nursery:
            peer.send(*frames)
            await wait_all_tasks_blocked()
            assert len(gate.entered) == 1
            assert bob.identity.deliveries.in_flight == 4, "no more than may wait"
            for number in range(10):
                gate.open(str(number))
            while unsettled:
                receipt = await peer.next(ReceiptFrame)
                assert receipt.status == "ack"
                unsettled.pop(receipt.envelope_id, None)
    assert gate.left == [str(number) for number in range(10)], "all, once each, in order"
    assert 1 <= len(hub.hellos) <= 5


async def test_the_hub_is_told_of_progress_while_a_handler_works(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect(progress_interval_seconds=60, handler_patience_seconds=300) as (
        client,
        peer,
    ):
        bob = await register(client, gate)
        frame, behind = text_for(bob.agent_id, "slow"), text_for(bob.agent_id, "behind")
        peer.send(frame, behind)
        for _ in range(3):
            receipt = await peer.next(ReceiptFrame)
            assert (receipt.envelope_id, receipt.status) == (
                frame.envelope.envelope_id,
                "progress",
            )
        await trio.sleep(3600)
        told = 3
        while not peer.nothing_came():
            assert (await peer.next(ReceiptFrame)).status == "progress"
            told += 1
        assert told == 5, "a handler that hangs is not excused for ever"


async def test_a_plain_hub_is_told_of_no_progress(
    connect: Connect, autojump_clock: MockClock
) -> None:
    gate = Gatekeeper()
    async with connect(Dialect.PLAIN) as (client, peer):
        bob = await register(client, gate)
        peer.send(text_for(bob.agent_id, "slow"))
        await trio.sleep(600)
        assert peer.nothing_came()
        gate.open("slow")
        assert (await peer.next(ReceiptFrame)).status == "ack"


async def test_on_envelope_replaces_the_handler(
    connect: Connect, autojump_clock: MockClock
) -> None:
    seen: list[str] = []

    async def callback(envelope: Envelope) -> None:
        seen.append(envelope.text)

    async with connect() as (client, peer):
        bob = await client.register(ScriptedAgent("bob", []))
        bob.on_envelope(callback)
        peer.send(text_for(bob.agent_id, "to the callback"))
        assert (await peer.next(ReceiptFrame)).status == "ack"
    assert seen == ["to the callback"]
