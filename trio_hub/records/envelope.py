"""
The envelope: what is sent.

Everything that agents say to each other, and everything that a hub says about a channel, is an
envelope in the log of that channel. The hub stamps `envelope_id` and `created_at` when it
accepts one; from then on it never changes.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final, Literal, Protocol

import attrs

__all__ = [
    "CHANNEL_EVENT_PREFIX",
    "EV_CHANNEL_CLOSED",
    "EV_CHANNEL_EXPIRED",
    "EV_CHANNEL_INVITE",
    "EV_CHANNEL_INVITE_ACK",
    "EV_CHANNEL_INVITE_REJECT",
    "EV_CHANNEL_OPENED",
    "EV_CHANNEL_PARTICIPANT_HIDDEN",
    "EV_CHANNEL_PARTICIPANT_REMOVED",
    "EV_CONTEXT_SET",
    "EV_EXPECTATION_VIOLATED",
    "EV_PACKET",
    "EV_TASK_CANCEL_REQUEST",
    "EV_TEXT",
    "EXPECTATION_EVENT_PREFIX",
    "TASK_EVENT_PREFIX",
    "Addressed",
    "Envelope",
    "Priority",
    "is_addressed_to",
    "is_bookkeeping",
    "is_visible_to",
]

CHANNEL_EVENT_PREFIX: Final = "ag2.channel."
TASK_EVENT_PREFIX: Final = "ag2.task."
EXPECTATION_EVENT_PREFIX: Final = "ag2.expectation."

EV_TEXT: Final = "ag2.msg.text"
EV_PACKET: Final = "ag2.packet"
EV_CHANNEL_INVITE: Final = "ag2.channel.invite"
EV_CHANNEL_INVITE_ACK: Final = "ag2.channel.invite.ack"
EV_CHANNEL_INVITE_REJECT: Final = "ag2.channel.invite.reject"
EV_CHANNEL_OPENED: Final = "ag2.channel.opened"
EV_CHANNEL_CLOSED: Final = "ag2.channel.closed"
EV_CHANNEL_EXPIRED: Final = "ag2.channel.expired"
EV_CHANNEL_PARTICIPANT_HIDDEN: Final = "ag2.channel.participant_hidden"
EV_CHANNEL_PARTICIPANT_REMOVED: Final = "ag2.channel.participant_removed"
EV_EXPECTATION_VIOLATED: Final = "ag2.expectation.violated"
EV_CONTEXT_SET: Final = "ag2.context.set"
EV_TASK_CANCEL_REQUEST: Final = "ag2.task.cancel_request"

_BOOKKEEPING: Final = (CHANNEL_EVENT_PREFIX, TASK_EVENT_PREFIX, EXPECTATION_EVENT_PREFIX)
# The hub takes these for itself: they move the channel, and nobody is notified of them.
_ABSORBED: Final = frozenset({EV_CHANNEL_INVITE_ACK, EV_CHANNEL_INVITE_REJECT})
# Up to so many ids are looked through faster than they are hashed.
_FEW: Final = 8

Priority = Literal["background", "normal", "urgent"]


class _Remembering:
    # What an envelope has worked out about itself. No `cached_property`, for which attrs gives a
    # class a `__getattr__`: then Python takes twice as long for every attribute of it. The name is
    # private because msgspec would take a public one for a field, and write it.
    __slots__ = ("_audience_set",)

    _audience_set: frozenset[str]


@attrs.frozen(kw_only=True)
class Envelope(_Remembering):
    """
    One message in one channel.

    Attributes:
        channel_id: The channel whose log it goes into.
        sender_id: The agent that says it.
        audience: Agent ids it is for, each once in what a hub accepts; None is every participant
            but the sender.
        event_type: What it is: `EV_TEXT`, another ``ag2.*`` type, or an application's own.
        event_data: The content, any JSON object. Carried, not interpreted.
        envelope_id: 32 hex digits, stamped by the hub; sorts in order of acceptance.
        task_id: The task it belongs to.
        causation_id: The envelope it answers. A handler that runs twice finds its reply by it.
        trace_id: A W3C traceparent.
        priority: How urgent its sender thinks it is.
        depth: How many delegations deep it was said.
        idempotency_key: Posting the same key in the same channel again gives the first one's id.
        created_at: ISO 8601, stamped by the hub.
        ttl_seconds: So long after `created_at` it is delivered to nobody any more; None, or what
            is not above 0, is for ever.
    """

    channel_id: str
    sender_id: str
    audience: tuple[str, ...] | None = None
    event_type: str
    event_data: dict[str, Any]
    envelope_id: str = ""
    task_id: str | None = None
    causation_id: str | None = None
    trace_id: str | None = None
    priority: Priority = "normal"
    depth: int = 0
    idempotency_key: str | None = None
    created_at: str = ""
    ttl_seconds: int | float | None = None

    @property
    def addressees(self) -> Container[str] | None:
        """
        The audience, for those who ask it about one agent after another.

        It may be as long as a peer liked: in logs of earlier working copies, also much longer than
        the channel has members.
        """
        audience = self.audience
        if audience is None or len(audience) <= _FEW:
            return audience
        try:
            return self._audience_set
        except AttributeError:
            made = frozenset(audience)
            object.__setattr__(self, "_audience_set", made)
            return made

    @property
    def text(self) -> str:
        """The text of an `EV_TEXT`, or the body of a packet; "" where there is none."""
        text = self.event_data.get("text", self.event_data.get("body", ""))
        return text if isinstance(text, str) else ""

    @property
    def routing(self) -> Mapping[str, Any]:
        """Where a packet wants the next turn to go: ``{"kind": ...}``; empty for all else."""
        routing = self.event_data.get("routing") if self.event_type == EV_PACKET else None
        return routing if isinstance(routing, Mapping) else {}


def is_bookkeeping(event_type: str) -> bool:
    """Whether it is about channels, tasks or expectations rather than something an agent said."""
    return event_type.startswith(_BOOKKEEPING)


def is_addressed_to(envelope: Envelope, agent_id: str) -> bool:
    """
    Whether `envelope` is owed to a participant: it is in the audience, or there is no audience
    and it is not its own. Invite acks and rejects are the hub's alone.
    """
    if envelope.event_type in _ABSORBED:
        return False
    audience = envelope.audience
    if audience is None:
        return envelope.sender_id != agent_id
    # Asked for each recipient of each envelope, so the usual one is spared a call.
    return agent_id in (audience if len(audience) <= _FEW else envelope.addressees or ())


class Addressed(Protocol):
    """What says who may read an envelope."""

    @property
    def sender_id(self) -> str: ...

    @property
    def audience(self) -> tuple[str, ...] | None: ...


def is_visible_to(envelope: Addressed, agent_id: str) -> bool:
    """
    Whether a participant may read `envelope`: it said it, or it is (one of) its readers.

    It looks through the whole audience, so it is for one who reads: of many, ask a set of them.
    """
    if envelope.sender_id == agent_id or envelope.audience is None:
        return True
    return agent_id in envelope.audience
