"""
A peer that speaks frames and nothing cleverer, and a house to let it into.

    async with open_house() as house:
        alice, bob = await house.join("alice"), await house.join("bob")
        channel_id = await alice.open("conversation", bob)
        envelope_id = await alice.say(channel_id, "hi")
        notify = await bob.hears("hi")
        bob.ack(notify)

What a peer does by itself can be switched off: it accepts invites (`accepts`), and it acks what
it was notified of (`acks`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Any, TypeVar

import attrs
import trio
import trio.testing

from trio_hub import (
    Hub,
    KnowledgeStore,
    LinkLimits,
    LocalLink,
    MemoryKnowledgeStore,
    WsLink,
    serve_ws,
)
from trio_hub.errors import ConnectionLost, TooLarge, error_from_code
from trio_hub.links import LinkEndpoint
from trio_hub.links.base import Link
from trio_hub.records import (
    EV_CHANNEL_INVITE,
    EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT,
    EV_TEXT,
)
from trio_hub.wire.frames import Dialect

#: A test that waits longer has failed. Over sockets this is real time.
PATIENCE_SECONDS = 20.0

Frame = dict[str, Any]
T = TypeVar("T")


class Peer:
    """One connection to a hub, and the agents that it acts for."""

    def __init__(self, endpoint: LinkEndpoint, *, acks: bool, accepts: bool) -> None:
        self.endpoint = endpoint
        self.acks = acks
        self.accepts = accepts
        #: Name -> id of everybody who was registered here.
        self.ids: dict[str, str] = {}
        #: What came and was not expected yet, in order. Responses are not among it.
        self.frames: list[Frame] = []
        #: Everything that came, for ever.
        self.history: list[Frame] = []
        self.lost_because: str | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[str, Frame] = {}
        self._news = trio.Event()
        self._may_read = trio.Event()
        self._may_read.set()

    # Frames

    def send(self, kind: str, **fields: Any) -> None:
        """Send a frame."""
        self.send_text(json.dumps({"kind": kind, **fields}))

    def send_text(self, message: str) -> None:
        """Send a message as it stands."""
        self.endpoint.push_nowait(message.encode("utf-8", "surrogatepass"))

    def ask(self, op: str, **params: Any) -> str:
        """Send a request, and return its id without waiting."""
        request_id = f"r{next(self._numbers)}"
        self.send("request", request_id=request_id, op=op, params=params)
        return request_id

    async def answer(self, request_id: str) -> Any:
        """Wait for the answer of a request: its result, or the error as an exception."""
        with trio.fail_after(PATIENCE_SECONDS):
            while request_id not in self._answers:
                await self._wait()
        frame = self._answers.pop(request_id)
        if frame["ok"]:
            return frame["result"]
        raise error_from_code(frame["error_code"], frame["error_message"])

    def is_answered(self, request_id: str) -> bool:
        """Whether the answer is here."""
        return request_id in self._answers

    async def request(self, op: str, **params: Any) -> Any:
        """Ask and wait for the answer."""
        return await self.answer(self.ask(op, **params))

    async def expect(self, kind: str, **fields: Any) -> Frame:
        """Wait for the next frame of a kind with these fields, and take it out of `frames`."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                for index, frame in enumerate(self.frames):
                    if frame["kind"] == kind and fields.items() <= frame.items():
                        return self.frames.pop(index)
                await self._wait()

    async def quiet(self) -> list[Frame]:
        """Wait until nothing more is on its way, and return what came unexpected."""
        for _ in range(3):
            await trio.testing.wait_all_tasks_blocked(0.002)
            self.send("ping")
            await self.expect("pong")
        return self.frames

    async def gone(self) -> str:
        """Wait until the connection has ended, and return why."""
        with trio.fail_after(PATIENCE_SECONDS):
            while self.lost_because is None:
                await self._wait()
        return self.lost_because

    async def _wait(self) -> None:
        if self.lost_because is not None:
            raise ConnectionLost(self.lost_because)
        await self._news.wait()

    # What agents do

    @property
    def id(self) -> str:
        """The id of the one agent that this peer acts for."""
        (agent_id,) = self.ids.values()
        return agent_id

    async def register(self, name: str, **params: Any) -> str:
        """Register an identity here, and return its id."""
        passport = await self.request("register", passport={"name": name}, resume={}, **params)
        self.ids[name] = passport["agent_id"]
        return self.ids[name]

    async def hello(self, name: str, *, since: Any = "", **fields: Any) -> Frame:
        """Attach to an identity that is known, and return the welcome."""
        self.send("hello", name=name, since_envelope_id=since, **fields)
        welcome = await self.expect("welcome")
        self.ids[name] = await self.request("find_agent_id", name=name)
        return welcome

    async def open(self, manifest_type: str, *others: Peer, **params: Any) -> str:
        """Open a channel, and return its id."""
        metadata = await self.request(
            "create_channel",
            creator_id=self.id,
            manifest_type=manifest_type,
            participants=[other.id for other in others],
            **params,
        )
        channel_id: str = metadata["channel_id"]
        return channel_id

    def envelope(self, channel_id: str, words: str, **fields: Any) -> dict[str, Any]:
        """Write a text."""
        return {
            "channel_id": channel_id,
            "sender_id": self.id,
            "event_type": EV_TEXT,
            "event_data": {"text": words},
            **fields,
        }

    def ask_to_say(self, channel_id: str, words: str, **fields: Any) -> str:
        """Post a text, and return the id of the request without waiting."""
        return self.ask("post_envelope", envelope=self.envelope(channel_id, words, **fields))

    async def say(self, channel_id: str, words: str, **fields: Any) -> str:
        """Post a text, and return the id of the envelope."""
        envelope_id: str = await self.answer(self.ask_to_say(channel_id, words, **fields))
        return envelope_id

    async def hears(self, words: str | None = None, event_type: str = EV_TEXT) -> Frame:
        """Wait for the next notify of a type; it must be the one with these words."""
        with trio.fail_after(PATIENCE_SECONDS):
            while True:
                for index, frame in enumerate(self.frames):
                    if frame["kind"] != "notify":
                        continue
                    envelope = frame["envelope"]
                    if envelope["event_type"] == event_type:
                        if words is not None:
                            assert envelope["event_data"].get("text") == words
                        return self.frames.pop(index)
                await self._wait()

    def heard(self, channel_id: str | None = None) -> list[str]:
        """All texts that were ever notified of, in order, repetitions included."""
        return [
            frame["envelope"]["event_data"]["text"]
            for frame in self.history
            if frame["kind"] == "notify"
            and frame["envelope"]["event_type"] == EV_TEXT
            and channel_id in (None, frame["envelope"]["channel_id"])
        ]

    def receipt(self, notify: Frame, status: str, **fields: Any) -> None:
        """Say what became of a notify."""
        self.send(
            "receipt",
            envelope_id=notify["envelope"]["envelope_id"],
            channel_id=notify["envelope"]["channel_id"],
            recipient_id=notify["recipient_id"],
            status=status,
            **fields,
        )

    def ack(self, notify: Frame) -> None:
        """It is done."""
        self.receipt(notify, "ack")

    def nack(self, notify: Frame, reason: str = "") -> None:
        """It failed."""
        self.receipt(notify, "nack", reason=reason)

    def answer_invite(self, notify: Frame, event_type: str = EV_CHANNEL_INVITE_ACK) -> str:
        """Accept or decline; returns the id of the request."""
        invite = notify["envelope"]
        return self.ask(
            "post_envelope",
            envelope={
                "channel_id": invite["channel_id"],
                "sender_id": notify["recipient_id"],
                "event_type": event_type,
                "event_data": {},
                "causation_id": invite["envelope_id"],
            },
        )

    async def decline(self) -> None:
        """Wait for an invite and decline it."""
        notify = await self.hears(event_type=EV_CHANNEL_INVITE)
        await self.answer(self.answer_invite(notify, EV_CHANNEL_INVITE_REJECT))
        self.ack(notify)

    async def accept(self) -> None:
        """Wait for an invite and accept it."""
        notify = await self.hears(event_type=EV_CHANNEL_INVITE)
        await self.answer(self.answer_invite(notify))
        self.ack(notify)

    @contextmanager
    def stalls(self) -> Iterator[None]:
        """Take nothing off the line inside the block."""
        self._may_read = trio.Event()
        try:
            yield
        finally:
            self._may_read.set()

    def cut(self) -> None:
        """Leave without a word."""
        self.endpoint.cut("the test cuts it")

    # The read loop

    async def _read(self) -> None:
        try:
            while True:
                try:
                    await self._may_read.wait()
                    message = await self.endpoint.receive()
                except TooLarge as error:
                    self._take({"kind": "too large", "message": error.message})
                    continue
                assert isinstance(message, str)
                lines = [message]
                if self.endpoint.dialect is Dialect.BATCHED:
                    lines = message.split("\n")
                for line in lines:
                    self._take(json.loads(line))
        except ConnectionLost as error:
            self.lost_because = error.message
            self._tell()

    def _take(self, frame: Frame) -> None:
        self.history.append(frame)
        if frame["kind"] == "response":
            self._answers[frame["request_id"]] = frame
        elif frame["kind"] == "notify" and self._deal_with(frame):
            return
        else:
            self.frames.append(frame)
        self._tell()

    def _deal_with(self, notify: Frame) -> bool:
        """Accept an invite and ack, where that is switched on. Returns whether that was all."""
        is_invite = notify["envelope"]["event_type"] == EV_CHANNEL_INVITE
        if is_invite and self.accepts:
            self.answer_invite(notify)
            self.ack(notify)
            return True
        if self.acks and not is_invite:
            self.ack(notify)
        return False

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()


@asynccontextmanager
async def connected(link: Link, *, acks: bool = True, accepts: bool = True) -> AsyncIterator[Peer]:
    """Connect a peer for as long as the block lasts."""
    async with link.connect() as endpoint, trio.open_nursery() as nursery:
        peer = Peer(endpoint, acks=acks, accepts=accepts)
        nursery.start_soon(endpoint.write_out)
        nursery.start_soon(endpoint.heartbeat)
        nursery.start_soon(peer._read)
        yield peer
        nursery.cancel_scope.cancel()


class House:
    """A hub, a door to it, and the peers that came through."""

    def __init__(self, hub: Hub, link: Link, stack: AsyncExitStack) -> None:
        self.hub = hub
        self.link = link
        self._stack = stack

    async def enter(self, block: AbstractAsyncContextManager[T]) -> T:
        """Enter a block that is left when the house closes, after whoever comes in later."""
        return await self._stack.enter_async_context(block)

    async def peer(self, *, link: Link | None = None, **options: Any) -> Peer:
        """Let a peer in that acts for nobody yet."""
        return await self._stack.enter_async_context(
            connected(self.link if link is None else link, **options)
        )

    async def join(self, *names: str, **options: Any) -> Peer:
        """Let a peer in that registers these names."""
        peer = await self.peer(**options)
        for name in names:
            await peer.register(name)
        return peer

    async def back(self, name: str, *, since: Any = "", **options: Any) -> Peer:
        """Let a peer in that attaches to a name that is known."""
        peer = await self.peer(**options)
        await peer.hello(name, since=since)
        return peer


@attrs.frozen
class Pair:
    """Alice and Bob, and a channel of theirs. Tests add what else they do, and what is looked at."""

    house: House
    alice: Peer
    bob: Peer
    channel_id: str

    async def say(self, *words: str) -> list[str]:
        """Let Alice say one after another; return the ids of the envelopes."""
        return [await self.alice.say(self.channel_id, word) for word in words]


@asynccontextmanager
async def open_house(
    store: KnowledgeStore | None = None,
    *,
    over: str = "local",
    dialect: Dialect = Dialect.BATCHED,
    link_limits: LinkLimits | None = None,
    **options: Any,
) -> AsyncIterator[House]:
    """
    Open a hub, and a door to it.

    Args:
        over: "local" (in memory, fit for a virtual clock) or "ws" (a real socket).
        options: As for `Hub.open`.
    """
    chosen = store if store is not None else MemoryKnowledgeStore()
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Hub.open(chosen, **options))
        link: Link
        if over == "ws":
            server = await stack.enter_async_context(
                serve_ws(hub, "127.0.0.1", 0, limits=link_limits)
            )
            link = WsLink(server.url, limits=link_limits, dialects=[dialect])
        else:
            link = LocalLink(hub, limits=link_limits, dialect=dialect)
        yield House(hub, link, stack)
