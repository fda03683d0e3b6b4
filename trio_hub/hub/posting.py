"""
Posting: what is checked before an envelope may go into a channel's log.

What a channel's own protocol says is the machine's business; here stands what the hub as a whole
says: that it is open, that sender and audience exist, and that the arbiter allows it.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import AccessDeniedError, NetworkError, ProtocolError
from ..records import EV_CHANNEL_INVITE_ACK, EV_CHANNEL_INVITE_REJECT, Envelope
from ..records.envelope import CHANNEL_EVENT_PREFIX, EXPECTATION_EVENT_PREFIX
from .admission import Admission
from .announcer import Announcer
from .channels import ChannelBook, Posted
from .gate import Gate
from .registry import Registry
from .spans import HubSpans

__all__ = ["Posting"]

_OF_THE_HUB = (CHANNEL_EVENT_PREFIX, EXPECTATION_EVENT_PREFIX)
_ANSWERS = (EV_CHANNEL_INVITE_ACK, EV_CHANNEL_INVITE_REJECT)


class Posting:
    """
    The way of an envelope from its sender to the log.

    Args:
        gate: Whether anything is taken at all.
        registry: Who may send.
        channels: Where to.
        admission: Asks the arbiter.
        announcer: Told of what is refused.
        spans: Where the application traces.
    """

    def __init__(
        self,
        gate: Gate,
        registry: Registry,
        channels: ChannelBook,
        admission: Admission,
        announcer: Announcer,
        spans: HubSpans | None = None,
    ) -> None:
        self._gate = gate
        self._registry = registry
        self._channels = channels
        self._admission = admission
        self._announcer = announcer
        self._spans = spans

    async def post_from_wire(self, bound: Mapping[str, object], envelope: Envelope) -> Posted:
        """
        Post what a connection sends, whose sender is bound to it.

        Raises:
            AccessDeniedError: The sender takes no part in such a channel, if there is one.
            ProtocolError: As `post`; or it is an event that only the hub may post.
        """
        assert envelope.sender_id in bound, "authorization comes before posting"
        if envelope.event_type.startswith(_OF_THE_HUB) and envelope.event_type not in _ANSWERS:
            raise ProtocolError(f"a {envelope.event_type!r} is posted by the hub alone")
        channel = self._channels.find(envelope.channel_id)
        if channel is None or envelope.sender_id not in channel.metadata.participant_ids:
            raise AccessDeniedError(
                f"{envelope.sender_id} takes no part in a channel {envelope.channel_id!r}"
            )
        if channel.machine is None:
            await self._channels.warm(channel)
            if envelope.sender_id not in bound:
                raise AccessDeniedError(
                    f"this connection does not act for agent {envelope.sender_id!r} any more"
                )
        return self._post_nowait(envelope)

    async def post(self, envelope: Envelope) -> Posted:
        """
        Plan and submit a post. It has no checkpoint where the channel is warm.

        Raises:
            See `Hub.post_envelope`.
        """
        channel = self._channels.find(envelope.channel_id)
        if channel is not None and channel.machine is None:
            try:
                self._gate.check()
                self._registry.get(envelope.sender_id)
                await self._channels.warm(channel)
            except NetworkError as error:
                self._announcer.rejected(envelope, error)
                raise
        return self._post_nowait(envelope)

    # Inside

    def _post_nowait(self, envelope: Envelope) -> Posted:
        done = None if self._spans is None else self._spans.accepting(envelope)
        try:
            posted = self._submit(envelope)
        except NetworkError as error:
            if done is not None:
                done(error)
            self._announcer.rejected(envelope, error)
            raise
        if done is not None:
            done(posted.ticket)
        return posted

    def _submit(self, envelope: Envelope) -> Posted:
        self._gate.check()
        sender = self._registry.get(envelope.sender_id)
        channel = self._channels.get(envelope.channel_id)
        metadata, machine = channel.metadata, channel.machine
        assert machine is not None, "it is warm, and there was no checkpoint since"
        if envelope.audience is not None:
            envelope = self._admission.resolve_audience(metadata, envelope)
        # A retry of what was posted takes no room and no token.
        if not machine.knows_key_of(envelope):
            self._admission.check_post(sender, metadata, envelope)
        return self._channels.post_nowait(channel, machine, envelope)
