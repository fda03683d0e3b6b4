"""Somebody in the network who is shown envelopes and speaks when it likes, such as a person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Self

import trio

from ..records import EV_CHANNEL_INVITE, EV_TEXT, Envelope, Resume, Rule
from .handlers import accept_invite
from .identity import Identity
from .speaking_client import SpeakingClient

if TYPE_CHECKING:
    from .hub_client import HubClient

__all__ = ["HumanClient"]


class HumanClient(SpeakingClient):
    """
    An identity without an agent; `HubClient.register_human` and `HubClient.attach_human` make
    them.

    Envelopes are either pulled (`next_envelope`, ``async for``) or pushed (`on_envelope`). Each
    is handed out once and settled when it has been: one that nobody has taken yet comes again
    after a restart. So nothing is lost, and what waits is bounded by the client's window.

    A person may take days. For as long as the program is connected the hub is told that what waits
    here is in good hands, so it does not become a dead letter; meanwhile more waits at the hub, up
    to ``inbox.max_pending`` of the person's rule. Nobody else waits for them.

    Args:
        hub_client: The connection that it is on.
        auto_ack_invites: Whether invites are accepted at once.
    """

    def __init__(self, *, hub_client: HubClient, auto_ack_invites: bool = True) -> None:
        super().__init__(hub_client)
        self._auto_ack_invites = auto_ack_invites
        self._callbacks: list[Callable[[Envelope], Awaitable[None]]] = []
        # Of no capacity: whoever hands over waits until it is taken.
        self._hand: trio.MemorySendChannel[Envelope]
        self._taken: trio.MemoryReceiveChannel[Envelope]
        self._hand, self._taken = trio.open_memory_channel[Envelope](0)
        # Those who hand over; at most as many as the client has handlers.
        self._handing: set[trio.CancelScope] = set()

    def bind(self, identity: Identity, resume: Resume, rule: Rule) -> None:
        """Take an identity; done once, by the `HubClient`."""
        # Whoever waits for an envelope, or with one, is to hear of it.
        identity.when_detached.append(self._hand.close)
        super().bind(identity, resume, rule)

    def on_envelope(self, callback: Callable[[Envelope], Awaitable[None]]) -> None:
        """
        Have envelopes pushed to `callback` (and to those given before) instead of pulled, those
        that wait to be taken included.

        One that raises makes the envelope come again, to all of them. Those of one channel come one
        after another.
        """
        self._callbacks.append(callback)
        for scope in self._handing:
            scope.cancel()

    def remove_envelope_callback(self, callback: Callable[[Envelope], Awaitable[None]]) -> None:
        """
        Push nothing more to `callback`; nothing happens where it was not given. Without any,
        envelopes wait to be pulled again.
        """
        if callback in self._callbacks:
            self._callbacks.remove(callback)

    async def next_envelope(
        self,
        *,
        predicate: Callable[[Envelope], bool] | None = None,
        timeout: float | None = None,
    ) -> Envelope:
        """
        Take the next envelope.

        Args:
            predicate: Those that it does not like are taken too, and dropped.
            timeout: Seconds; None waits for ever.

        Raises:
            trio.TooSlowError: None came in time.
            TakenOver, ConnectionLost: None will come any more.

        Cancellation: nothing is taken.
        """
        with trio.move_on_after(float("inf") if timeout is None else timeout):
            while True:
                envelope = await self._take()
                if predicate is None or predicate(envelope):
                    return envelope
        raise trio.TooSlowError(f"no envelope came for {self.name!r} within {timeout:g} s")

    async def _take(self) -> Envelope:
        try:
            return await self._taken.receive()
        except trio.EndOfChannel:
            self.identity.check_attached()
            raise

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Envelope:
        return await self.next_envelope()

    async def send(
        self,
        channel_id: str,
        text: str,
        *,
        audience: list[str] | None = None,
        causation_id: str | None = None,
    ) -> str:
        """Say something in a channel; as `Channel.send`."""
        return await self.send_envelope(
            Envelope(
                channel_id=channel_id,
                sender_id=self.agent_id,
                audience=None if audience is None else tuple(audience),
                event_type=EV_TEXT,
                event_data={"text": text},
                causation_id=causation_id,
            )
        )

    async def handle(self, envelope: Envelope, attempt: int) -> None:
        """Hand an envelope out, as if it had just arrived."""
        await self._bound.wait()
        if envelope.event_type == EV_CHANNEL_INVITE and self._auto_ack_invites:
            await accept_invite(envelope, self)
            return
        if not self._callbacks and await self._hand_over(envelope):
            return
        for callback in list(self._callbacks):
            await callback(envelope)

    async def _hand_over(self, envelope: Envelope) -> bool:
        """Wait until an envelope is taken; False where it is to be pushed after all."""
        with trio.CancelScope() as scope:
            self._handing.add(scope)
            try:
                await self._hand.send(envelope)
            finally:
                self._handing.discard(scope)
            return True
        return False
