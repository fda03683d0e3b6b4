"""
No credential and no text of an agent is in any log, at any level, of any library below.

A whole story is told with words that occur nowhere else, including the mistakes that peers make,
and everything that was logged meanwhile is searched for them.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import pytest

from trio_hub import (
    ApiKeyAuth,
    AuthBlock,
    AuthRegistry,
    DeliveryPolicy,
    HubClient,
    HubLimits,
    Passport,
    Resume,
    Turn,
    WsLink,
)
from trio_hub.cli.logs import configure_logging
from trio_hub.errors import AuthError, NetworkError
from trio_hub.links import transport as transports
from trio_hub.protocol.backoff import Backoff

from .hub.peer import Peer, connected, open_house
from .metrics.pages import get, watch

KEY = "KEY-of-alice-e5b1"
OTHER_KEY = "KEY-of-bob-77aa"
WRONG_KEY = "KEY-that-was-guessed-09"
#: Every text in the story begins so.
TEXT = "SPOKEN-"
FORBIDDEN = (KEY, OTHER_KEY, WRONG_KEY, TEXT)


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """The program's log, as JSON, with every library at the level DEBUG."""
    written = io.StringIO()
    root, ours = logging.getLogger(), logging.getLogger("trio_hub")
    before = (root.handlers[:], root.level, ours.level)
    with redirect_stderr(written):
        configure_logging(level="debug", format="json")
    root.setLevel(logging.DEBUG)
    try:
        yield written
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])


def _passport(name: str, key: str) -> Passport:
    return Passport(name=name, auth=AuthBlock(scheme="api_key", claim={"token": key}))


async def _answer(turn: Turn) -> str:
    if turn.attempt == 1:
        raise _Clumsy
    return f"{TEXT}answer"


class _Clumsy(Exception):
    """A handler's own mistake: what it says of itself is its own business."""


async def _silence(_turn: Turn) -> None:
    return None


def _malformed(peer: Peer) -> None:
    for message in (
        f"{TEXT}no json",
        json.dumps({"kind": f"{TEXT}kind"}),
        json.dumps({"kind": "hello", "name": "alice", "auth_claim": KEY}),
        json.dumps({"kind": "hello", "name": "alice", "auth_scheme": 5, "auth_claim": {"t": KEY}}),
        json.dumps({"kind": "receipt", "envelope_id": "e", "status": f"{TEXT}status"}),
        json.dumps({"kind": "request", "request_id": "r", "op": 5, "params": {"text": TEXT}}),
        json.dumps({"kind": f'{TEXT}it\'s "quoted"'}),
        '{"kind":"hello","name":"alice","auth_claim":{"token":"' + KEY,
    ):
        peer.send_text(message)


@pytest.mark.parametrize("transport", ["trio-websocket", "websockets"])
async def test_no_secret_and_no_text_is_logged(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transports, "AUTO_ORDER", (transport,))
    with everything_logged() as log:
        channel_id = await _tell_the_story()
    written = log.getvalue()
    told = [line for line in written.splitlines() if any(one in line for one in FORBIDDEN)]
    assert told == []
    lines = [json.loads(line) for line in written.splitlines()]
    # It was a log of the story all the same, with names to look things up by.
    events = {line["event"] for line in lines}
    assert {
        "agent registered",
        "a handler failed",
        "envelope nacked",
        "turn failed",
        "malformed frame",
        "connection dismissed",
        "request refused",
    } <= events
    for line in lines:
        if line["event"] in ("malformed frame", "request refused", "connection opened"):
            assert line["connection_id"]
            assert line["peer"]
        if line["event"] in ("envelope nacked", "turn failed"):
            assert line["agent_id"]
            assert line["channel_id"] == channel_id
            assert line["envelope_id"]


async def _tell_the_story() -> str:
    auth = AuthRegistry([ApiKeyAuth(keys={"alice": KEY, "bob": OTHER_KEY})])
    policy = DeliveryPolicy(backoff=Backoff(base=0.01, cap=0.01), max_attempts=2)
    async with open_house(
        over="ws", auth=auth, delivery=policy, limits=HubLimits(malformed_frames_per_minute=4)
    ) as house:
        server = await watch(house)
        link = house.link
        assert isinstance(link, WsLink)
        async with HubClient(link) as client:
            await client.register(_answer, _passport("bob", OTHER_KEY))
            alice = await client.register(
                _silence, _passport("alice", KEY), Resume(summary=f"{TEXT}resume")
            )
            channel = await alice.open(type="consulting", target="bob", intent=f"{TEXT}intent")
            await channel.send(f"{TEXT}question")
            await alice.wait_for_channel_event(
                channel_id=channel.channel_id,
                predicate=lambda it: it.event_data.get("text") == f"{TEXT}answer",
                timeout=20,
            )
            with pytest.raises(NetworkError):
                await channel.send(f"{TEXT}too late")
        async with HubClient(link) as client:
            with pytest.raises(AuthError):
                await client.register(_silence, _passport("alice", WRONG_KEY))
        async with connected(link) as rude:
            _malformed(rude)
            await rude.gone()
        async with connected(link, acks=False) as bob:
            claim = {"token": OTHER_KEY}
            bob.send(
                "hello", name="bob", auth_scheme="api_key", auth_claim=claim, since_envelope_id=""
            )
            await bob.expect("welcome")
            with pytest.raises(NetworkError):
                await bob.request(f"{TEXT}operation", text=TEXT)
            with pytest.raises(NetworkError):
                await bob.request("set_skill", agent_id="x", skill_md=f"{TEXT}skill")
        await get(server.url, "/readyz")
    return channel.channel_id


async def test_no_line_quotes_a_peer_whole() -> None:
    with everything_logged() as log:
        await _call_things_by_long_names("x" * 100_000)
    lines = log.getvalue().splitlines()
    events = {json.loads(line)["event"] for line in lines}
    assert {
        "authentication failed",
        "envelope nacked",
        "no date",
        "operator acts",
        "request refused",
        "task event",
        "turn failed",
    } <= events
    assert [line[:200] for line in lines if len(line) > 3_000] == []
    # What an agent has written: keys of a payload, and a date that is none.
    assert [line for line in lines if TEXT in line] == []


async def _call_things_by_long_names(long: str) -> None:
    keys = {"alice": KEY, "bob": OTHER_KEY}
    auth = AuthRegistry([ApiKeyAuth(keys=keys)])
    async with open_house(auth=auth, operators=["alice"]) as house:
        alice, bob = await house.peer(), await house.peer()
        alice.send("hello", name=long, auth_scheme="api_key", auth_claim={"token": WRONG_KEY})
        await alice.expect("error")
        for peer, name in ((alice, "alice"), (bob, "bob")):
            block = {"scheme": "api_key", "claim": {"token": keys[name]}}
            registered = await peer.request(
                "register", passport={"name": name, "auth": block}, resume={}
            )
            peer.ids[name] = registered["agent_id"]
        channel_id, me = await alice.open("conversation", bob), alice.id
        alice.send("receipt", envelope_id=long, channel_id=long, recipient_id=me, status="nack")
        await alice.request(
            "report_turn_failure",
            channel_id=channel_id,
            agent_id=me,
            envelope_id=long,
            error=TEXT,
        )
        task = {"task_id": "t", "owner_id": me, "spec": {"title": "t"}, "state": "running"}
        await alice.request("observe_task", metadata={**task, "expires_at": f"{TEXT}{long}"})
        payload = {f"{TEXT}{number}": number for number in range(1_000)}
        await alice.request("fire_task_event", task_id="t", kind="mirror_failed", payload=payload)
        with pytest.raises(NetworkError):
            await alice.request("read_wal", channel_id=long)
