"""Groups that talk in one channel after another, each of which is checked when it has ended."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import attrs
import trio

from trio_hub import AgentClient, Envelope, NetworkError, ProtocolError, Reconnect, Turn
from trio_hub.protocol.backoff import Backoff
from trio_hub.testing.checkers import violations
from trio_hub.testing.trace import Recorder

from .timings import Timings

__all__ = ["QUICKLY_BACK", "Talk", "say_nothing"]

T = TypeVar("T")

_NOTE = "soak.note"
_POSTS_IN_A_CHANNEL = 40
_SETTLES_WITHIN_SECONDS = 120.0
QUICKLY_BACK = Reconnect(backoff=Backoff(base=0.05, cap=1.0), wait_for_hub=True)


@attrs.define
class Talk:
    """
    What is said in one process, and what came of it.

    Attributes:
        counts: What has happened how often.
        problems: What did not hold, in sentences.
        latencies: From the first try of a post to its answer, cuts in between included.
        lags: From the first try of a post until a recipient has it.
        news: Set, and replaced, whenever something was handled.
        stopping: Set it, and nothing more is begun.
    """

    rng: random.Random
    counts: Counter[str] = attrs.field(factory=Counter)
    problems: list[str] = attrs.field(factory=list)
    latencies: Timings = attrs.field(factory=Timings)
    lags: Timings = attrs.field(factory=Timings)
    recorders: dict[str, Recorder] = attrs.field(factory=dict)
    news: trio.Event = attrs.field(factory=trio.Event)
    stopping: bool = False

    def report(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        return {
            "counts": dict(self.counts),
            "problems": self.problems,
            "latencies": self.latencies.as_json(),
            "lags": self.lags.as_json(),
        }

    def recorder(self, channel_id: str) -> Recorder:
        """Return what writes down the story of one channel."""
        return self.recorders.setdefault(channel_id, Recorder())

    async def handle(
        self, envelope: Envelope, client: AgentClient, attempt: int, *, life: int = 0
    ) -> None:
        """Handle an envelope as an agent does, and write it down."""
        self.counts["handled"] += 1
        if envelope.event_type == _NOTE:
            now = time.monotonic()
            self.lags.add(now, now - envelope.event_data["at"])
        recorded = self.recorder(envelope.channel_id).handler(life=life)
        await recorded(envelope, client, attempt)
        self.news.set()
        self.news = trio.Event()

    async def group(self, members: list[AgentClient]) -> None:
        """Talk in one channel after another, until stopping."""
        while not self.stopping:
            opener, *others = members
            try:
                channel = await opener.open(
                    type="discussion", target=[it.agent_id for it in others]
                )
            except (ProtocolError, trio.TooSlowError):
                # Somebody was cut off for as long as an invite waits.
                self.counts["channels not opened"] += 1
                continue
            ids = [it.agent_id for it in members]
            for number in range(_POSTS_IN_A_CHANNEL):
                if self.stopping:
                    break
                await self.post(self.rng.choice(members), channel.channel_id, number, ids)
                await trio.sleep(self.rng.uniform(0.1, 0.4))
            try:
                await self.end(opener, channel.channel_id, ids)
            except NetworkError as error:
                self.refused(f"the end of channel {channel.channel_id}", opener, error)

    async def post(
        self, author: AgentClient, channel_id: str, number: int, members: list[str]
    ) -> None:
        """Post until there is an answer, under one key."""
        begun = time.monotonic()
        envelope = self.note(author, channel_id, number)
        recipients = [it for it in members if it != author.agent_id]
        recorder = self.recorder(channel_id)
        while True:
            try:
                await recorder.post(author, envelope, recipients=recipients)
            except (NetworkError, trio.TooSlowError) as error:
                if isinstance(error, NetworkError) and not error.retryable:
                    self.refused("a post", author, error)
                    return
                self.counts["posts tried again"] += 1
            else:
                self.counts["posts"] += 1
                now = time.monotonic()
                self.latencies.add(now, now - begun)
                return

    def note(self, author: AgentClient, channel_id: str, number: int) -> Envelope:
        """Return something to post, with a key of its own in its channel."""
        padding = "x" * self.rng.randrange(500)
        return Envelope(
            channel_id=channel_id,
            sender_id=author.agent_id,
            event_type=_NOTE,
            event_data={"number": number, "at": time.monotonic(), "padding": padding},
            idempotency_key=f"{channel_id}-{number}",
        )

    def refused(self, what: str, client: AgentClient, error: NetworkError) -> None:
        """Write down that something was refused that should not have been."""
        detached = client.identity.detached
        away = "" if detached is None else f", who was detached: {detached}"
        self.problems.append(f"{what} was refused to {client.name}{away}: {error}")

    async def end(self, reader: AgentClient, channel_id: str, members: list[str]) -> list[Envelope]:
        """Close a channel, wait until all have handled everything, and check; return its log."""
        await self.patiently(partial(reader.hub_client.close_channel, channel_id, reason="enough"))
        recorder = self.recorder(channel_id)
        log = await self.patiently(partial(reader.hub_client.read_wal, channel_id))
        for position, envelope in enumerate(log):
            recorder.logged(position, envelope, members)
        with trio.move_on_after(_SETTLES_WITHIN_SECONDS):
            while violations(recorder.trace):
                await self.news.wait()
        self.problems += violations(recorder.trace)
        self.counts["channels checked"] += 1
        self.counts["envelopes checked"] += len(log)
        del self.recorders[channel_id]
        return log

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask what may be asked again, until there is an answer in time."""
        while True:
            try:
                return await ask()
            except trio.TooSlowError:
                self.counts["requests tried again"] += 1


async def say_nothing(_turn: Turn) -> None:
    """Take a turn without a word: what is posted is posted by the group."""
    return
