"""
What a hub offers to whatever joins it with other hubs, and asks of it.

Channels of other hubs have their reflections here, in the same book and with the same deliveries
as the hub's own. What goes between hubs, and what they are called, is the door's business
(`trio_hub.federation`), which stands above the hub.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import attrs
import trio

from ..errors import AccessDeniedError, NetworkError, NotFoundError, ProtocolError
from ..ids import ID_PATTERN
from ..protocol.expectations import Firings
from ..protocol.federation import (
    HUB_SCHEME,
    Crossing,
    CrossingAnswer,
    Recipients,
    link_name,
    recipients_of,
)
from ..protocol.federation.reflection import EV_CLOSE_WISH
from ..records import ChannelMetadata, Envelope, Passport
from ..stores import KnowledgeStore
from ..wire.params import CrossAgents
from .admission import Admission
from .channels import Channel, ChannelBook
from .gate import Gate
from .posting import Posting
from .registry import Registry
from .remote_agents import REMOTE_KIND

__all__ = ["FederationApi", "FederationDoor", "PeerHealth", "Routes"]

# How long an agent waits for another hub's word whether it may speak.
_ASK_SECONDS = 5.0


@attrs.frozen(kw_only=True)
class PeerHealth:
    """
    How it stands with another hub.

    Attributes:
        name: Of that hub.
        up: Whether it can be reached from here now. Whether it reaches this one is for it to say.
        since: Since when, in seconds since 1970; None where it was never tried.
        failures: Calls that failed since the last one that did not.
        owed: Envelopes that are on their way to it, or wait for it.
        agents: How many of its agents are known here.
        sent: Envelopes that it has taken since the hub opened; one that it was given twice
            counts twice.
        received: Those that came from it and were taken, likewise.
        refused: Those that it will never take; they are dead letters of ``hub://NAME``.
        turned_away: Those that came from it and were not taken.
        loops: Those among them that went in circles.
        problem: Why it is down, or "".
    """

    name: str
    up: bool
    since: float | None
    failures: int
    owed: int
    agents: int
    sent: int
    received: int
    refused: int
    turned_away: int
    loops: int
    problem: str


class FederationDoor(Protocol):
    """What joins a hub with others, as the hub sees it."""

    def peer_among(self, bound: Mapping[str, str]) -> str | None:
        """Return the peer that a connection acts for, by the ids and names bound to it."""
        ...

    async def arrived(self, peer: str, crossing: Crossing) -> CrossingAnswer:
        """Take an envelope of a peer. What it answers is durable."""
        ...

    async def introduced(self, peer: str, told: CrossAgents) -> str:
        """Learn of a peer's agents; return the name of this hub."""
        ...

    def may_peer_send(self, peer: str, channel_id: str, sender: str) -> tuple[str, str]:
        """Return channel and id here of an agent of a peer. Raises `AccessDeniedError`."""
        ...

    async def may_send(self, channel: Channel, sender_id: str, event_type: str) -> bool:
        """Ask the owner of a channel whether an agent may post. Raises `ConnectionLost`."""
        ...

    def health(self) -> tuple[PeerHealth, ...]:
        """Say how it stands with each peer."""
        ...


class Routes:
    """
    Which agents live elsewhere, and by which link they are reached.

    Args:
        registry: Who there is.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def link_of(self, agent_id: str) -> str | None:
        """Return the id of the link to an agent's hub; None for one that lives here."""
        registration = self._registry.find(agent_id)
        if registration is None or not is_mirror(registration.passport):
            return None
        return self._registry.id_of(link_name(registration.passport.hub_id or ""))

    def recipients_of(self, metadata: ChannelMetadata, firings: Firings) -> Recipients:
        """Work out who is owed what in a channel."""
        removed = (it.agent_id for it in firings.removed)
        return recipients_of(metadata, self.link_of, removed)


def is_mirror(passport: Passport) -> bool:
    """Whether an identity stands for an agent of another hub."""
    return passport.kind == REMOTE_KIND and passport.auth.scheme == HUB_SCHEME


class FederationApi:
    """The part of `Hub` that is about other hubs. `Hub` fills in what it works with."""

    channels: ChannelBook
    _gate: Gate
    _store: KnowledgeStore
    _registry: Registry
    _posting: Posting
    _admission: Admission
    _door: FederationDoor | None

    @property
    def store(self) -> KnowledgeStore:
        """Where the hub keeps everything."""
        return self._store

    @asynccontextmanager
    async def federated(self, door: FederationDoor) -> AsyncIterator[None]:
        """
        Let a door join this hub with others, for as long as the block lasts.

        Raises:
            RuntimeError: There is one already.
        """
        if self._door is not None:
            raise RuntimeError("this hub is federated already")
        self._door = door
        try:
            yield
        finally:
            self._door = None

    def door_for(self, bound: Mapping[str, str]) -> tuple[FederationDoor, str]:
        """
        Return the door, and the peer that a connection acts for.

        Raises:
            AccessDeniedError: It acts for none, or there is no door.
        """
        peer = None if self._door is None else self._door.peer_among(bound)
        if self._door is None or peer is None:
            raise AccessDeniedError(
                "this is for hubs that are peers of this one: log in as hub:NAME, and have the "
                "operator name you in its configuration"
            )
        return self._door, peer

    async def reflect(self, metadata: ChannelMetadata, invite: Envelope) -> str:
        """
        Have the reflection of another hub's channel, and an invite in it. Repeatable.

        Args:
            metadata: The channel, by the ids that those who take part have here.
            invite: Under an idempotency key.

        Returns:
            The id of the invite here; it is on disk.

        Raises:
            ProtocolError: The channel is another one, or nobody here takes part in it.
            AccessDeniedError: Those who take part here do not accept such a channel, or its creator
                has opened too many.
            NotFoundError: One of them is no more.
            StoreError: It may or may not be kept. Reflect it again.

        Cancellation: as with `StoreError`.
        """
        self._gate.check()
        while True:
            channel = self.channels.find(metadata.channel_id)
            if channel is None:
                self._check_invite(metadata)
                channel, ticket = self.channels.reflect_nowait(metadata, invite)
                await ticket.wait()
            try:
                return await self.post_from_owner(channel, invite)
            except NotFoundError:
                if self.channels.find(metadata.channel_id) is channel:
                    raise

    async def post_from_owner(self, channel: Channel, envelope: Envelope) -> str:
        """
        Post to a reflection what the owning hub says, which is never asked whether it may.

        Raises:
            NotFoundError: The channel never came to be.
            ProtocolError: It belongs to another hub.
            StoreError: It may or may not be kept. Post it again.
        """
        self._gate.check()
        owner = self._registry.find(envelope.sender_id)
        if not channel.recipients.is_reflection or owner is None or not is_mirror(owner.passport):
            raise ProtocolError(f"channel {channel.channel_id} does not belong to that hub")
        machine = await self.channels.warm(channel)
        posted = self.channels.post_nowait(channel, machine, envelope)
        if posted.ticket is not None:
            await posted.ticket.wait()
        return posted.envelope_id

    def _check_invite(self, metadata: ChannelMetadata) -> None:
        if not ID_PATTERN.fullmatch(metadata.channel_id):
            raise ProtocolError(f"{metadata.channel_id!r} is no id of a channel")
        creator = self._registry.get(metadata.creator_id)
        members = [
            it
            for it in map(self._registry.get, metadata.participant_ids)
            if not is_mirror(it.passport)
        ]
        self._admission.check_open(
            metadata.manifest, creator, members, self.channels.count_open_of(metadata.creator_id)
        )

    async def _may_send_far(self, channel: Channel, sender_id: str, event_type: str) -> bool:
        """
        Ask the hub that owns a channel; where it does not answer, say yes.

        Then the post waits with all others for that hub, which decides when it gets it.
        """
        if self._door is None:
            return True
        with trio.move_on_after(_ASK_SECONDS):
            try:
                return await self._door.may_send(channel, sender_id, event_type)
            except NetworkError:
                return True
        return True

    async def _wish_closed(self, channel: Channel, reason: str) -> None:
        """Ask the hub that owns a channel to close it."""
        recipients = channel.recipients
        here = [it for it in channel.metadata.participant_ids if it not in recipients.far]
        machine = await self.channels.warm(channel)
        if channel.metadata.is_terminal:
            return
        wish = Envelope(
            channel_id=channel.channel_id,
            sender_id=here[0],
            audience=(),
            event_type=EV_CLOSE_WISH,
            event_data={"reason": reason},
            idempotency_key=EV_CLOSE_WISH,
        )
        if machine.knows_key_of(wish):
            return
        posted = self.channels.post_nowait(channel, machine, wish)
        if posted.ticket is not None:
            await posted.ticket.wait()
