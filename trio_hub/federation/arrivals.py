"""
What comes from one peer, and is posted here.

Nothing that a peer says is believed beyond what it may say: it speaks for its own agents, in
channels that are its own or in which they take part, to agents here that it may know.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from .._logging import get_logger
from ..errors import AccessDeniedError, NetworkError, NotFoundError, ProtocolError
from ..hub import Hub
from ..hub.channels import Channel
from ..protocol.federation import (
    Crossing,
    CrossingAnswer,
    Naming,
    PeerPolicy,
    check_path,
    crossing_key,
    renamed,
)
from ..protocol.federation.crossing import is_loop
from ..protocol.federation.reflection import EV_CLOSE_WISH, OF_THE_HUB, check_far_event
from ..records import (
    EV_CHANNEL_INVITE,
    ChannelMetadata,
    ChannelState,
    Envelope,
)
from .counts import PeerCounts
from .mirrors import Mirrors
from .proxy import translated

__all__ = ["Arrivals"]

log = get_logger(__name__)


class Arrivals:
    """
    The way in for one peer.

    Args:
        hub: Where its envelopes are posted.
        naming: Translates names.
        policy: Who may be known to whom.
        mirrors: Stand here for its agents.
        counts: Counts what arrives.
    """

    def __init__(
        self, hub: Hub, naming: Naming, policy: PeerPolicy, mirrors: Mirrors, counts: PeerCounts
    ) -> None:
        self._hub = hub
        self._naming = naming
        self._policy = policy
        self._mirrors = mirrors
        self._counts = counts

    async def take(self, crossing: Crossing) -> CrossingAnswer:
        """
        Post an envelope of the peer, and say what became of it.

        Cancellation: it may or may not be posted. It comes again, and is known by its key.
        """
        try:
            envelope_id = await self._take(crossing)
        except NetworkError as error:
            self._counts.turned_away += not error.retryable
            self._counts.loops += is_loop(crossing.path, self._naming.me)
            log.info(
                "not taken from a hub",
                hub=self._naming.peer,
                channel_id=crossing.envelope.channel_id,
                code=error.code,
                is_final=not error.retryable,
            )
            return CrossingAnswer(
                code=error.code,
                message=error.message,
                is_final=not error.retryable,
                retry_after_seconds=error.retry_after_seconds,
            )
        self._counts.received += 1
        return CrossingAnswer(envelope_id=envelope_id)

    def member(self, channel_id: str, sender: str) -> str:
        """
        Return the id here of an agent of the peer, in a channel of this hub.

        Raises:
            AccessDeniedError: There is none such in a channel of this hub.
            ProtocolError: The peer does not speak for it.
        """
        channel = self._hub.channels.find(channel_id)
        agent_id = self._hub.find_agent_id(self._sender_name(sender))
        if (
            channel is None
            or channel.recipients.is_reflection
            or agent_id not in channel.metadata.participant_ids
        ):
            raise AccessDeniedError(f"{sender} takes no part in a channel {channel_id!r} here")
        assert agent_id is not None
        return agent_id

    async def _take(self, crossing: Crossing) -> str:
        naming, envelope = self._naming, crossing.envelope
        check_path(crossing.path, me=naming.me, peer=naming.peer)
        sender = self._sender_name(envelope.sender_id)
        channel = self._hub.channels.find(envelope.channel_id)
        if channel is not None and channel.recipients.owner not in (None, self._mirrors.link_id):
            # As if there were none: it is between others.
            raise NotFoundError(f"no channel with id {envelope.channel_id!r}")
        if envelope.event_type == EV_CHANNEL_INVITE:
            self._hub.check_revoked(sender)
            return await self._invited(crossing)
        if channel is None:
            raise NotFoundError(f"no channel with id {envelope.channel_id!r}")
        if channel.recipients.is_reflection:
            # What its hub says of the channel is taken in its name all the same: else the two
            # hubs would never agree again on where it stands.
            is_of_the_hub = envelope.event_type.startswith(OF_THE_HUB)
            if not is_of_the_hub:
                self._hub.check_revoked(sender)
            posted = await self._inward(crossing, channel)
            if is_of_the_hub:
                return await self._hub.post_from_owner(channel, posted)
            return await self._hub.post_envelope(posted)
        self._hub.check_revoked(sender)
        self.member(envelope.channel_id, envelope.sender_id)
        if envelope.event_type == EV_CLOSE_WISH:
            reason = envelope.event_data.get("reason")
            await self._hub.close_channel(
                envelope.channel_id, reason=reason if isinstance(reason, str) else ""
            )
            return envelope.envelope_id
        check_far_event(envelope)
        return await self._hub.post_envelope(await self._inward(crossing, channel))

    async def _invited(self, crossing: Crossing) -> str:
        naming, envelope, told = self._naming, crossing.envelope, crossing.channel
        if told is None or told.channel_id != envelope.channel_id or not envelope.audience:
            raise ProtocolError("an invite comes with the channel, and is for somebody")
        if told.creator_id != envelope.sender_id:
            raise ProtocolError("a channel is that of the hub of its creator, who invites to it")
        invitees = tuple(dict.fromkeys(envelope.audience))
        for address in invitees:
            self._invitee(address)
        envelope = attrs.evolve(envelope, audience=invitees)
        names = {it.agent_id: naming.name(it.agent_id) for it in told.participants}
        for name in names.values():
            if naming.is_mirror(name):
                self._check_let_in(name)
        with self._mirrors.held(names.values()):
            return await self._reflect(told, envelope, names)

    async def _reflect(
        self, told: ChannelMetadata, envelope: Envelope, names: Mapping[str, str]
    ) -> str:
        """Have the reflection of a channel; `names` are those here of its addresses."""
        naming = self._naming
        ids: dict[str, str] = {}
        for address, name in names.items():
            agent_id: str | None = None
            if naming.is_mirror(name):
                agent_id = await self._mirrors.ensure(name)
            elif self._policy.shows(name):  # Who is not takes no part, whatever the peer says.
                agent_id = self._hub.find_agent_id(name)
            if agent_id is not None:
                ids[address] = agent_id
        if told.creator_id not in ids or not set(envelope.audience or ()) <= ids.keys():
            raise ProtocolError("creator and invitees are not among those who take part")
        metadata = _reflected(told, ids, {a for a in ids if not naming.is_mirror(names[a])})
        invite = attrs.evolve(
            envelope,
            sender_id=ids[envelope.sender_id],
            audience=tuple(ids[it] for it in envelope.audience or ()),
            event_data=renamed(envelope.event_data, ids),
            envelope_id="",
            created_at="",
            idempotency_key=crossing_key(naming.peer, envelope.envelope_id),
        )
        return await self._hub.reflect(metadata, invite)

    def _sender_name(self, address: str) -> str:
        name = self._naming.name(address)
        if not self._naming.is_mirror(name):
            raise ProtocolError(f"hub {self._naming.peer!r} does not speak for {name!r}")
        self._check_let_in(name)
        return name

    def _check_let_in(self, name: str) -> None:
        if not self._policy.lets_in(self._naming.name_there(name)):
            raise NotFoundError(f"nobody is known here as {name}")

    def _invitee(self, address: str) -> None:
        name = self._naming.name(address)
        agent_id = self._hub.find_agent_id(name)
        if agent_id is None or self._naming.is_mirror(name) or not self._policy.shows(name):
            raise NotFoundError(f"no agent {name!r} is registered")

    async def _inward(self, crossing: Crossing, channel: Channel) -> Envelope:
        envelope, naming = crossing.envelope, self._naming
        names = {naming.address(self._hub.name_for(it)): it for it in _members(channel)}
        if envelope.sender_id not in names:
            raise ProtocolError(
                f"{envelope.sender_id} takes no part in channel {channel.channel_id}"
            )
        audience = envelope.audience
        if audience is not None:
            # Each once: what the owner of a channel says goes into the log as it is.
            known = tuple(names[it] for it in dict.fromkeys(audience) if it in names)
            if audience and not known:
                raise NotFoundError("nobody whom it is for takes part in the channel any more")
            audience = known
        return attrs.evolve(
            envelope,
            sender_id=names[envelope.sender_id],
            audience=audience,
            event_data=translated(envelope, names),
            causation_id=await self._cause(crossing, channel),
            envelope_id="",
            created_at="",
            idempotency_key=crossing_key(naming.peer, envelope.envelope_id),
        )

    async def _cause(self, crossing: Crossing, channel: Channel) -> str | None:
        cause = crossing.envelope.causation_id
        if cause is None or crossing.cause_hub == self._naming.me:
            return cause
        machine = await self._hub.channels.warm(channel)
        return machine.id_by_key(crossing_key(self._naming.peer, cause)) or cause


def _members(channel: Channel) -> tuple[str, ...]:
    removed = (it.agent_id for it in channel.firings.removed)
    return (*channel.metadata.participant_ids, *removed)


def _reflected(told: ChannelMetadata, ids: dict[str, str], here: set[str]) -> ChannelMetadata:
    """Return what a channel of another hub is here, at its beginning."""
    return attrs.evolve(
        told,
        # What is expected in it its owner sees to.
        manifest=attrs.evolve(told.manifest, expectations=()),
        creator_id=ids[told.creator_id],
        participants=tuple(
            attrs.evolve(it, agent_id=ids[it.agent_id])
            for it in told.participants
            if it.agent_id in ids
        ),
        knobs=renamed(told.knobs, ids),
        state=ChannelState.PENDING,
        pending_acks=tuple(ids[it.agent_id] for it in told.participants if it.agent_id in here),
        rejected_by=(),
        # It ends when its owner says so.
        expires_at=None,
        closed_at=None,
        close_reason="",
        parent_channel_id=None,
    )
