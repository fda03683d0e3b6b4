"""
The proxy that ships: it carries envelopes to another hub.

What a link is owed comes here in the order of each channel's log. It is put into words that the
other hub understands, and handed over until that has it on disk or says that it never will.
"""

from __future__ import annotations

import random
from typing import Final

import attrs
import trio

from .._logging import get_logger
from ..errors import NotFoundError, TooLarge
from ..hub import Hub, Undeliverable
from ..hub.federation import is_mirror
from ..protocol.backoff import Backoff
from ..protocol.federation import (
    Crossing,
    CrossingAnswer,
    Naming,
    path_from,
    renamed,
)
from ..protocol.federation.addresses import link_scheme
from ..protocol.federation.crossing import id_in_key
from ..records import (
    EV_CHANNEL_INVITE,
    EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
    EV_PACKET,
    ChannelMetadata,
    Envelope,
    Passport,
)
from ..wire import params as p
from .counts import PeerCounts
from .line import Line

__all__ = ["HubProxy"]

log = get_logger(__name__)

_ANSWERS: Final = (EV_CHANNEL_INVITE_ACK, EV_CHANNEL_INVITE_REJECT)
# Data of the network's own that is made of ids of agents.
_NAMING_AGENTS: Final = (
    EV_CHANNEL_INVITE,
    EV_CHANNEL_PARTICIPANT_HIDDEN,
    EV_CHANNEL_PARTICIPANT_REMOVED,
    EV_EXPECTATION_VIOLATED,
)
# What the other hub cannot take now, such as for a full inbox, is offered again after such waits.
_AGAIN: Final = Backoff(base=0.5, cap=30.0)


class HubProxy:
    """
    A `RemoteAgentProxy` for one peer.

    Args:
        hub: Whose envelopes it carries.
        line: By which it reaches the peer.
        naming: Translates names.
        counts: Counts what it carries.
        rng: Source of jitter.
    """

    def __init__(
        self, hub: Hub, line: Line, naming: Naming, counts: PeerCounts, rng: random.Random
    ) -> None:
        self.scheme = link_scheme(naming.peer)
        self._hub = hub
        self._line = line
        self._naming = naming
        self._counts = counts
        self._rng = rng

    async def dispatch(self, envelope: Envelope, recipient: Passport) -> None:
        """
        Hand an envelope over. When this returns, the peer has it on disk.

        Raises:
            Undeliverable: The peer will never take it, or it may not go there.
            ConnectionLost: The peer cannot be reached now.

        Cancellation: it may or may not have been handed over; handed over again, it is known.
        """
        params = p.CrossEnvelope(crossing=await self._outward(envelope))
        tries = 0
        while True:
            try:
                answer: CrossingAnswer = await self._line.ask(
                    "cross_envelope", params, CrossingAnswer
                )
            except TooLarge as error:
                self._counts.refused += 1
                raise Undeliverable(str(error)) from error
            if answer.envelope_id:
                self._counts.sent += 1
                return
            if answer.is_final:
                self._refused(envelope, answer)
                return
            await trio.sleep(max(_AGAIN.delay(tries, self._rng), answer.retry_after_seconds or 0.0))
            tries += 1

    async def close(self) -> None:
        """Nothing is held here: the line is its federation's."""
        await trio.lowlevel.checkpoint()

    def _refused(self, envelope: Envelope, answer: CrossingAnswer) -> None:
        if envelope.event_type in _ANSWERS:
            # The channel has come to its end without waiting for it. Nobody misses anything.
            log.info("invite answered too late", channel_id=envelope.channel_id)
            return
        self._counts.refused += 1
        raise Undeliverable(
            f"hub {self._naming.peer!r} refused it ({answer.code}): {answer.message}"
        )

    async def _outward(self, envelope: Envelope) -> Crossing:
        hub, naming = self._hub, self._naming
        name = hub.name_for(envelope.sender_id)
        came_from = self._home_of(envelope.sender_id)
        if came_from == naming.peer:
            raise Undeliverable(f"it came from hub {came_from!r}")
        if came_from is None and not self._line.peer.policy.shows(name):
            self._counts.refused += 1
            raise Undeliverable(f"hub {naming.peer!r} may not know of {name!r}: see its exports")
        channel = hub.channels.get(envelope.channel_id)
        metadata = channel.metadata
        removed = (it.agent_id for it in channel.firings.removed)
        addresses = {it: self._address(it) for it in (*metadata.participant_ids, *removed)}
        causation_id, cause_hub = await self._cause(envelope)
        audience = envelope.audience
        is_invite = envelope.event_type == EV_CHANNEL_INVITE
        outward = attrs.evolve(
            envelope,
            sender_id=self._address(envelope.sender_id),
            # Each once: it may be from a log in which that was not seen to.
            audience=(
                None
                if audience is None
                else tuple(self._address(it) for it in dict.fromkeys(audience))
            ),
            event_data=translated(envelope, addresses),
            causation_id=causation_id,
            idempotency_key=None,
        )
        return Crossing(
            path=path_from(naming.me, came_from),
            envelope=outward,
            cause_hub=cause_hub,
            channel=_addressed(metadata, addresses) if is_invite else None,
        )

    def _address(self, agent_id: str) -> str:
        return self._naming.address(self._hub.name_for(agent_id))

    def _home_of(self, agent_id: str) -> str | None:
        """Return the hub that an agent is known from, or None: it lives here, or is gone."""
        try:
            passport = self._hub.get_agent(agent_id)
        except NotFoundError:
            return None
        return passport.hub_id if is_mirror(passport) else None

    async def _cause(self, envelope: Envelope) -> tuple[str | None, str | None]:
        """Say what an envelope answers, by an id that the peer can find it by."""
        cause = envelope.causation_id
        if cause is None:
            return None, None
        channels = self._hub.channels
        channel = channels.get(envelope.channel_id)
        position = await channels.position_of(channel, cause)
        if position is not None:
            record = await channels.read_one(channel, position)
            first = None if record is None else record.envelope
            if first is not None and self._home_of(first.sender_id) == self._naming.peer:
                there = id_in_key(first.idempotency_key, self._naming.peer)
                if there is not None:
                    return there, self._naming.peer
        return cause, self._naming.me


def translated(envelope: Envelope, names: dict[str, str]) -> dict[str, object]:
    """
    Return the data of an envelope, with those who take part called by other names.

    Only where it is the network's own: what an application says is carried as it is.
    """
    data = envelope.event_data
    if envelope.event_type in _NAMING_AGENTS:
        told: dict[str, object] = renamed(data, names)
        return told
    if envelope.event_type == EV_PACKET and "routing" in data:
        return {**data, "routing": renamed(data["routing"], names)}
    return data


def _addressed(metadata: ChannelMetadata, names: dict[str, str]) -> ChannelMetadata:
    return attrs.evolve(
        metadata,
        creator_id=names[metadata.creator_id],
        participants=tuple(
            attrs.evolve(it, agent_id=names[it.agent_id]) for it in metadata.participants
        ),
        knobs=renamed(metadata.knobs, names),
        pending_acks=tuple(names[it] for it in metadata.pending_acks),
        rejected_by=tuple(names[it] for it in metadata.rejected_by),
    )
