"""What a peer does wrong costs itself an answer, and nobody else anything."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import given, settings

from trio_hub import HubLimits, LinkLimits, MemoryKnowledgeStore
from trio_hub.errors import NetworkError, ProtocolError
from trio_hub.testing import FaultyStore
from trio_hub.wire.frames import Dialect

from ..strategies import messages
from .peer import House, Peer, open_house

DEEP = "[" * 50_000


async def _all_is_well(house: House) -> None:
    """Two others meet and talk."""
    alice, bob = await house.join("alice"), await house.join("bob")
    channel_id = await alice.open("consulting", bob)
    await alice.say(channel_id, "what?")
    await bob.say(channel_id, "that.")
    await alice.hears("that.")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"kind":"shout"}',
        '{"kind":7}',
        '{"kind":"hello"}',
        '{"kind":"receipt","envelope_id":"x","status":"maybe"}',
        '{"kind":"notify","envelope":{}}',
        '{"kind":"ping","x":NaN}',
        '{"kind":"hello","name":"\\ud800"}',
        DEEP,
        '{"kind":"request","request_id":"1","op":"list_agents","params":' + DEEP,
        '{"kind":"welcome","endpoint_id":"e","hub_time":"t"}',
        '{"kind":"response","request_id":"1","ok":true}',
        '{"kind":"error","code":"c","message":"m"}',
    ],
    ids=lambda it: it[:30],
)
async def test_what_is_no_frame_for_a_hub_gets_an_error_frame(message: str, any_house: Any) -> None:
    async with any_house() as house:
        rude = await house.peer()
        if message == "" and rude.endpoint.dialect is Dialect.BATCHED:
            pytest.skip("an empty line is nothing")
        rude.send_text(message)
        error = await rude.expect("error")
        assert error["code"] == "protocol_error"
        assert error["message"]
        await rude.register("rude")
        await _all_is_well(house)


@pytest.mark.parametrize(
    ("request_frame", "says"),
    [
        ({"op": "fly"}, "unknown operation 'fly'"),
        ({"op": "post_envelope", "params": []}, "expected a JSON object, got a list"),
        ({"op": "post_envelope", "params": None}, "expected a JSON object, got null"),
        (
            {"op": "post_envelope", "params": {"envelope": {"sender_id": 1}}},
            "$.envelope.channel_id",
        ),
        ({"op": "register"}, "passport"),
        ({"op": 5}, "$.op"),
        ({}, "'op' is missing"),
        ({"op": "list_agents", "params": {"limit": -1}}, "limit"),
        ({"op": "__init__"}, "unknown operation"),
        ({"op": "table"}, "unknown operation"),
        ({"op": "_may_see"}, "unknown operation"),
    ],
    ids=str,
)
async def test_a_bad_request_is_answered_under_its_id(
    request_frame: dict[str, Any], says: str, any_house: Any
) -> None:
    async with any_house() as house:
        rude = await house.peer()
        rude.send("request", request_id="mine", **request_frame)
        with pytest.raises(ProtocolError) as caught:
            await rude.answer("mine")
        assert says in caught.value.message
        await _all_is_well(house)


@settings(max_examples=100)
@given(messages)
def test_any_message_leaves_the_hub_as_it_was(message: str | bytes) -> None:
    async def main() -> None:
        async with open_house() as house:
            rude = await house.join("rude")
            data = message if isinstance(message, str) else message.decode("latin-1")
            rude.send_text(data)
            await rude.quiet()
            assert rude.lost_because is None
            await _all_is_well(house)

    trio.run(main)


async def test_a_binary_message_is_told_that_frames_are_text() -> None:
    from trio_websocket import open_websocket_url

    async with open_house(over="ws") as house:
        async with open_websocket_url(house.link.url) as socket:  # type: ignore[attr-defined]
            await socket.send_message(b'{"kind":"ping"}')
            error = json.loads(await socket.get_message())
            assert error["kind"] == "error"
            assert "binary" in error["message"]
            await socket.send_message('{"kind":"ping"}')
            assert json.loads(await socket.get_message()) == {"kind": "pong"}
        await _all_is_well(house)


async def test_a_message_over_the_limit_is_refused_and_the_connection_lives(
    any_house: Any,
) -> None:
    limits = LinkLimits(message_bytes_max=10_000, plain_message_bytes_max=10_000)
    async with any_house(link_limits=limits) as house:
        rude = await house.join("rude")
        rude.send("ping", padding="x" * 12_000)
        error = await rude.expect("error")
        assert error["code"] == "too_large"
        assert "10000" in error["message"]
        await rude.request("list_agents")
        await _all_is_well(house)


@pytest.mark.parametrize("entry", ["a", "BOB"])
async def test_an_audience_of_megabytes_is_refused_in_a_few_words(entry: str) -> None:
    async with open_house() as house:
        rude, bob = await house.join("rude"), await house.join("bob")
        channel_id = await rude.open("conversation", bob)
        entry = bob.id if entry == "BOB" else entry
        audience = [entry] * (4 * 1024 * 1024 // len(json.dumps([entry])))
        said = f"an audience of {len(audience)} is more than the 1000"
        with pytest.raises(ProtocolError, match=said) as caught:
            await rude.say(channel_id, "hi", audience=audience)
        assert len(caught.value.message) < 200
        await _all_is_well_again(house, rude, bob, channel_id)


async def _all_is_well_again(house: House, rude: Peer, bob: Peer, channel_id: str) -> None:
    wal = await house.hub.read_wal(channel_id)
    assert "hi" not in [it.text for it in wal]
    await rude.say(channel_id, "sorry", audience=[bob.id, bob.id])
    assert (await bob.hears("sorry"))["envelope"]["audience"] == [bob.id]


async def test_a_flood_of_requests_is_answered_one_and_all() -> None:
    async with open_house(limits=HubLimits(requests_in_flight_max=4)) as house:
        busy = await house.join("busy")
        asked = [
            busy.ask("set_skill", agent_id=busy.id, skill_md=str(number)) for number in range(200)
        ]
        for request_id in asked:
            assert await busy.answer(request_id) is None
        # Those that were under way together may take effect in any order, but for posts.
        assert int(await busy.request("get_skill", agent_id=busy.id)) >= 196


async def test_one_who_has_too_many_unanswered_requests_waits_and_nobody_else_does() -> None:
    store = FaultyStore(MemoryKnowledgeStore())
    async with open_house(store, limits=HubLimits(requests_in_flight_max=2)) as house:
        busy, other = await house.join("busy"), await house.join("other")
        with store.hold_commits():
            asked = [busy.ask("set_skill", agent_id=busy.id, skill_md="x") for _ in range(3)]
            late = busy.ask("list_agents")
            await other.quiet()
            assert not busy.is_answered(late)
            assert len(await other.request("list_agents")) == 2
        for request_id in [*asked, late]:
            await busy.answer(request_id)


async def test_the_same_request_id_twice_is_two_answers() -> None:
    async with open_house() as house:
        peer = await house.peer()
        for op in ("list_agents", "fly"):
            peer.send("request", request_id="same", op=op)
        await peer.quiet()
        answers = [it for it in peer.history if it["kind"] == "response"]
        # In which order is not promised: what has to be looked for takes its time.
        assert sorted(it["ok"] for it in answers) == [False, True]
        assert {it["request_id"] for it in answers} == {"same"}


async def test_a_bug_in_the_hub_costs_one_request_and_tells_no_secrets() -> None:
    async with open_house() as house:
        peer = await house.join("alice")

        def broken(*_: object) -> None:
            raise ZeroDivisionError("secret detail")

        house.hub._reception.handlers = {  # type: ignore[attr-defined]
            **house.hub._reception.handlers,  # type: ignore[attr-defined]
            "list_agents": broken,
        }
        with pytest.raises(NetworkError, match="list_agents failed inside the hub") as caught:
            await peer.request("list_agents")
        assert "secret" not in str(caught.value)
        assert caught.value.code == "error"
        assert await peer.request("find_agent_id", name="alice") == peer.id


async def test_one_of_a_hundred_who_reads_nothing_holds_up_no_other() -> None:
    limits = LinkLimits(outbox_low_bytes=2_000, outbox_high_bytes=4_000)
    async with open_house(link_limits=limits) as house:
        speaker = await house.join("speaker")
        listeners = [await house.join(f"listener {number}") for number in range(99)]
        channel_id = await speaker.open("discussion", *listeners)
        stalled, others = listeners[0], listeners[1:]
        await stalled.quiet()
        with stalled.stalls():
            for number in range(100):
                await speaker.say(
                    channel_id, str(number), event_type="app.news", event_data={"n": "x" * 300}
                )
            await speaker.quiet()
            for other in others:
                await other.quiet()
                heard = [it for it in other.frames if _is_news(it)]
                assert len(heard) == 100
            assert len([it for it in stalled.frames if _is_news(it)]) < 100
        with trio.fail_after(20):
            while len([it for it in stalled.frames if _is_news(it)]) < 100:
                await stalled.quiet()


@pytest.mark.parametrize(
    "garbage",
    [
        "no frame",
        '{"kind":"shout"}',
        '{"kind":"request","request_id":"1","op":5}',
        '{"kind":"pong"',
    ],
)
async def test_one_who_sends_garbage_is_told_why_and_shown_the_door(
    garbage: str, any_house: Any
) -> None:
    async with any_house() as house:
        rude = await house.join("rude")
        for _ in range(5_000):
            rude.send_text(garbage)
        reason = await rude.gone()
        assert "1008" in reason or "too many malformed frames" in reason
        told = [it for it in rude.history if it["kind"] == "error"]
        assert "more than 100 malformed frames in a minute" in told[-1]["message"]
        # What came behind the last straw was not even looked at.
        assert len(rude.history) < 200
        await _all_is_well(house)


async def test_garbage_below_the_limit_is_put_up_with_for_ever(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_house(limits=HubLimits(malformed_frames_per_minute=5)) as house:
        rude = await house.join("rude")
        for _ in range(3):
            for _ in range(5):
                rude.send_text("no frame")
            await rude.quiet()
            assert rude.lost_because is None
            await trio.sleep(61)
        for _ in range(6):
            rude.send_text("no frame")
        assert "1008" in await rude.gone()


async def test_what_a_peer_asked_for_before_it_was_shown_the_door_is_done(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_house(limits=HubLimits(malformed_frames_per_minute=1)) as house:
        rude = await house.join("rude")
        rude.ask("set_skill", agent_id=rude.id, skill_md="kept")
        for _ in range(3):
            rude.send_text("no frame")
        late = rude.ask("set_skill", agent_id=rude.id, skill_md="not looked at")
        await rude.gone()
        await trio.testing.wait_all_tasks_blocked()
        # It may be that it was not told any more: as after any cut.
        assert not rude.is_answered(late)
        assert house.hub.get_skill(rude.id) == "kept"


def _is_news(frame: dict[str, Any]) -> bool:
    return frame["kind"] == "notify" and frame["envelope"]["event_type"] == "app.news"


async def test_peers_that_come_and_go_leave_nothing_behind() -> None:
    async with open_house() as house:
        await house.hub.register(_passport())
        for _ in range(50):
            peer = await house.back("restless")
            peer.cut()
            await peer.gone()
        await trio.testing.wait_all_tasks_blocked()
        assert house.hub.health().connections == 0
        await _all_is_well(house)


def _passport() -> Any:
    from trio_hub import Passport

    return Passport(name="restless")
