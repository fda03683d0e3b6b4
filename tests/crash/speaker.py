"""
A client of the plain dialect that survives its hub, and keeps a record of what it was told.

It shares no code with ours: what it believes about the hub comes from the wire alone. Over each
connection it sends again whatever has no answer, under the same idempotency key and in the same
order, and acks what it hears as an unreliable agent would: at once, late, in any order, never.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import attrs
import trio
import trio_websocket

from .hub_process import HubProcess

__all__ = ["NOTE", "Post", "Speaker", "Told"]

#: An application's own type: adapters carry it as data, from anybody at any time.
NOTE = "crash.note"

# Posts without an answer at any moment.
_WINDOW = 8
_ACKS_HELD_MAX = 6
_ANSWER_WITHIN_SECONDS = 60.0
_OPENS_WITHIN_SECONDS = 3.0


@attrs.frozen
class Post:
    """What somebody wants to be in a log once. Keys of one author in one channel sort."""

    channel_id: str
    key: str
    text: str


@attrs.define(eq=False)
class Told:
    """
    What the hub has told one party.

    Attributes:
        answered: Each acknowledged post, with the envelope id that it was given.
        heard: By channel, the envelope ids in the order of their first delivery.
        deliveries: How often anything was delivered.
    """

    answered: dict[Post, str] = attrs.field(factory=dict)
    heard: dict[str, dict[str, None]] = attrs.field(factory=dict)
    deliveries: int = 0
    _changed: trio.Event = attrs.field(factory=trio.Event)

    def answer(self, post: Post, envelope_id: str) -> None:
        """Note that a post was acknowledged."""
        before = self.answered.setdefault(post, envelope_id)
        assert before == envelope_id, f"{post.key} was given two ids: {before} and {envelope_id}"
        self.change()

    def hear(self, channel_id: str, envelope_id: str) -> None:
        """Note a delivery."""
        self.deliveries += 1
        self.heard.setdefault(channel_id, {}).setdefault(envelope_id)
        self.change()

    def change(self) -> None:
        """Wake whoever waits for something to have changed."""
        self._changed.set()
        self._changed = trio.Event()

    async def changes(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()


class Speaker:
    """
    One agent on a connection of its own.

    Args:
        name: Its name.
        hub: Whom it talks with.
        rng: Makes its choices.

    Attributes:
        told: What the hub said.
        reliable: Acks everything at once.
        posts: Everything that it has ever posted.
    """

    def __init__(self, name: str, hub: HubProcess, rng: random.Random) -> None:
        self.name = name
        self.agent_id = ""
        self.told = Told()
        self.reliable = True
        self.posts: list[Post] = []
        self._hub = hub
        self._rng = rng
        self._channel_ids: Sequence[str] = ()
        self._unanswered: dict[str, Post] = {}
        self._held: list[dict[str, Any]] = []
        self._answers: dict[str, dict[str, Any]] = {}
        self._requests = 0
        self._socket: trio_websocket.WebSocketConnection | None = None
        self._bound = False

    def __repr__(self) -> str:
        return f"<Speaker {self.name}, {'bound' if self._bound else 'away'}>"

    def speak_in(self, channel_ids: Sequence[str]) -> None:
        """Post into these channels from now on, or into none."""
        self._channel_ids = channel_ids
        self.told.change()

    @property
    def has_all_answers(self) -> bool:
        """Whether every post was acknowledged."""
        return not self._unanswered

    async def run(self) -> None:
        """Talk with the hub, one of its lives after the other, until cancelled."""
        life = 0
        while True:
            life = await self._hub.listening_after(life)
            try:
                # trio-websocket does not always close a stream of its own, so it is given one.
                stream = await trio.open_tcp_stream("127.0.0.1", self._hub.port)
                async with stream, trio.open_nursery() as nursery:
                    # It never hears of it when the hub is killed in the middle of the handshake.
                    with trio.fail_after(_OPENS_WITHIN_SECONDS):
                        self._socket = await trio_websocket.wrap_client_stream(
                            nursery, stream, "127.0.0.1", "/"
                        )
                    await self._talk()
            except* trio.TooSlowError:
                # To the same hub again, if it lives.
                life -= 1
            except* (
                trio_websocket.ConnectionClosed,
                trio_websocket.HandshakeError,
                OSError,
            ) as lost:
                if self._hub.is_well and self._hub.life == life:
                    raise AssertionError(f"{self.name} was cut off by a hub that lives") from lost
            finally:
                self._bound = False

    async def call(self, op: str, **params: Any) -> Any:
        """Ask for something while the hub lives, and return the result."""
        with trio.fail_after(_ANSWER_WITHIN_SECONDS):
            while not self._bound:
                await self.told.changes()
            self._requests += 1
            request_id = f"call-{self._requests}"
            await self._send(kind="request", request_id=request_id, op=op, params=params)
            while request_id not in self._answers:
                await self.told.changes()
        answer = self._answers.pop(request_id)
        assert answer["ok"], f"{op} of {self.name}: {answer}"
        return answer["result"]

    async def open(self, kind: str, *others: str) -> str:
        """Open a channel that never expires with agents, and return its id."""
        metadata = await self.call(
            "create_channel",
            creator_id=self.agent_id,
            manifest_type=kind,
            participants=others,
            ttl=0,
        )
        channel_id: str = metadata["channel_id"]
        return channel_id

    async def _talk(self) -> None:
        self._held.clear()
        if self.agent_id:
            await self._send(kind="hello", name=self.name, since_envelope_id="")
            welcome = await self._receive()
            assert welcome["kind"] == "welcome", f"{self.name} was not let in: {welcome}"
        else:
            rule = {"limits": {"inbox": {"max_pending": 0}}}
            params = {"passport": {"name": self.name}, "resume": {}, "rule": rule}
            await self._send(kind="request", request_id="register", op="register", params=params)
            self.agent_id = (await self._receive())["result"]["agent_id"]
        self._bound = True
        self.told.change()
        for post in list(self._unanswered.values()):
            await self._send_post(post)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak)
            while True:
                await self._take(await self._receive())

    async def _speak(self) -> None:
        while True:
            while self._channel_ids and len(self._unanswered) < _WINDOW:
                number = len(self.posts)
                key = f"{self.name}-{number:07}"
                text = "x" * self._rng.choice((1, 30, 300, 5000))
                post = Post(self._rng.choice(self._channel_ids), key, f"{key} {text}")
                self.posts.append(post)
                self._unanswered[key] = post
                await self._send_post(post)
            await self.told.changes()

    async def _send_post(self, post: Post) -> None:
        envelope = {
            "channel_id": post.channel_id,
            "sender_id": self.agent_id,
            "event_type": NOTE,
            "event_data": {"text": post.text},
            "idempotency_key": post.key,
        }
        params = {"envelope": envelope}
        await self._send(kind="request", request_id=post.key, op="post_envelope", params=params)

    async def _take(self, frame: dict[str, Any]) -> None:
        match frame["kind"]:
            case "notify":
                await self._hear(frame)
            case "response" if (post := self._unanswered.get(frame["request_id"])) is not None:
                assert frame["ok"], f"{post.key} was refused: {frame}"
                del self._unanswered[post.key]
                self.told.answer(post, frame["result"])
            case "response":
                self._answers[frame["request_id"]] = frame
                self.told.change()
            case _:
                raise AssertionError(f"{self.name} was sent {frame}")

    async def _hear(self, frame: dict[str, Any]) -> None:
        envelope = frame["envelope"]
        assert frame["recipient_id"] == self.agent_id
        if envelope["event_type"] == "ag2.channel.invite":
            ack = {
                "channel_id": envelope["channel_id"],
                "sender_id": self.agent_id,
                "event_type": "ag2.channel.invite.ack",
                "event_data": {},
                "causation_id": envelope["envelope_id"],
            }
            params = {"envelope": ack}
            request_id = envelope["envelope_id"]
            await self._send(
                kind="request", request_id=request_id, op="post_envelope", params=params
            )
        self.told.hear(envelope["channel_id"], envelope["envelope_id"])
        await self._receipt(frame)

    async def _receipt(self, frame: dict[str, Any]) -> None:
        chance = self._rng.random()
        if self.reliable or chance < 0.6:
            await self._send_receipt(frame, "ack")
        elif chance < 0.8:
            self._held.append(frame)
            if len(self._held) >= _ACKS_HELD_MAX:
                self._rng.shuffle(self._held)
                while self._held:
                    await self._send_receipt(self._held.pop(), "ack")
        elif chance < 0.83:
            await self._send_receipt(frame, "nack")

    async def _send_receipt(self, frame: dict[str, Any], status: str) -> None:
        await self._send(
            kind="receipt",
            envelope_id=frame["envelope"]["envelope_id"],
            channel_id=frame["envelope"]["channel_id"],
            recipient_id=self.agent_id,
            status=status,
        )

    async def _send(self, **frame: Any) -> None:
        assert self._socket is not None
        await self._socket.send_message(json.dumps(frame))

    async def _receive(self) -> dict[str, Any]:
        assert self._socket is not None
        frame: dict[str, Any] = json.loads(await self._socket.get_message())
        return frame
