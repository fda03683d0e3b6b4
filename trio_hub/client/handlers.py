"""
What an agent does with an envelope, unless told otherwise.

`default_handler` accepts invites, passes over bookkeeping, and lets the agent take its turn when
the channel's protocol says that it is its turn. It is made of the small functions below it, to
be put together differently in a handler of one's own.

A handler may run twice for one envelope. What keeps the agent from speaking twice is in the log:
the reply carries the envelope's id as its cause, and an idempotency key made of it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from .._logging import get_logger
from ..errors import ProtocolError
from ..protocol.adapters import left_by
from ..protocol.turn_end import seconds_left, why_it_ends
from ..protocol.views import View, words_of
from ..protocol.workflow import Finish, Handoff, Reply, packet_of
from ..records import (
    EV_CHANNEL_INVITE,
    EV_CHANNEL_INVITE_ACK,
    EV_CHANNEL_INVITE_REJECT,
    EV_PACKET,
    EV_TEXT,
    ChannelState,
    Envelope,
)
from .agents import Turn

if TYPE_CHECKING:
    from .agent_client import AgentClient
    from .channel import Channel

__all__ = [
    "Handler",
    "Participant",
    "accept_invite",
    "already_replied",
    "ask_agent",
    "decline_invite",
    "default_handler",
    "handler_with",
    "is_turn",
    "may_take_turn",
    "post_reply",
    "take_over_turn",
    "take_turn",
    "was_cancelled",
]

_log = get_logger("trio_hub.client")


# Envelopes among which the last text is looked for; what an application posts beside them counts.
_LOOK_BACK: Final = 50

#: ``await handler(envelope, client, attempt)``: returns when the envelope is settled.
Handler = Callable[[Envelope, "AgentClient", int], Awaitable[None]]


class Participant(Protocol):
    """Whoever can post: an `AgentClient`, a `HumanClient`."""

    @property
    def agent_id(self) -> str:
        """Its id."""
        ...

    async def send_envelope(self, envelope: Envelope) -> str:
        """Post an envelope."""
        ...


async def default_handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
    """
    Do with an envelope what an agent is expected to do.

    Two agents with this handler in a free conversation answer each other for ever, until one of
    them says nothing (None or "").

    Args:
        attempt: 1 the first time it is delivered.

    Raises: what the agent raises. The envelope is nacked then, and comes again.

    Cancellation: nothing is posted any more; the envelope comes again.
    """
    if envelope.event_type == EV_CHANNEL_INVITE:
        await accept_invite(envelope, client)
    elif is_turn(envelope):
        await take_turn(envelope, client, attempt)
    elif left_by(envelope):
        await take_over_turn(envelope, client, attempt)


def is_turn(envelope: Envelope) -> bool:
    """
    Whether an envelope says something that wants an answer: a text, or a packet that has a body
    or hands off.
    """
    if envelope.event_type == EV_TEXT:
        return bool(envelope.text)
    return envelope.event_type == EV_PACKET and (
        bool(envelope.text) or envelope.routing.get("kind") == "handoff"
    )


async def accept_invite(envelope: Envelope, client: Participant) -> None:
    """Accept the invite to a channel. Accepting again does nothing."""
    await _answer_invite(envelope, client, EV_CHANNEL_INVITE_ACK)


async def decline_invite(envelope: Envelope, client: Participant) -> None:
    """Decline the invite to a channel, which then does not come about."""
    await _answer_invite(envelope, client, EV_CHANNEL_INVITE_REJECT)


async def _answer_invite(envelope: Envelope, client: Participant, event_type: str) -> None:
    await client.send_envelope(
        Envelope(
            channel_id=envelope.channel_id,
            sender_id=client.agent_id,
            event_type=event_type,
            event_data={"channel_id": envelope.channel_id},
            causation_id=envelope.envelope_id,
            idempotency_key=f"{event_type}:{client.agent_id}:{envelope.envelope_id}",
        )
    )


def handler_with(view: View) -> Handler:
    """
    Return a handler that does as `default_handler`, and shows the agent a channel by `view`::

        await client.register(agent, handler=handler_with(WindowedSummary(10)))
    """

    async def handler(envelope: Envelope, client: AgentClient, attempt: int) -> None:
        if envelope.event_type == EV_CHANNEL_INVITE:
            await accept_invite(envelope, client)
        elif is_turn(envelope):
            await take_turn(envelope, client, attempt, view=view)
        elif left_by(envelope):
            await take_over_turn(envelope, client, attempt, view=view)

    return handler


async def take_turn(
    envelope: Envelope, client: AgentClient, attempt: int = 1, *, view: View | None = None
) -> str | None:
    """
    Ask the agent and post what it replies, if it is its turn; return the reply's envelope id.

    Args:
        view: What `Turn.lines` shows of the channel; None is `default_view`.

    A turn that is cancelled (see `Turn.cancel_scope`) posts nothing, and is settled with that.

    Cancellation: the reply may or may not be posted, and is not posted twice.
    """
    channel = await client.channel(envelope.channel_id)
    if not await may_take_turn(envelope, client, channel):
        return None
    # The first time, what cancels it is still to come, or waits here.
    if attempt > 1 and await was_cancelled(envelope, client, channel):
        return None
    reply = await ask_agent(envelope, client, channel, attempt, view=view)
    if not reply:
        return None
    return await post_reply(reply, envelope, client, channel)


async def take_over_turn(
    envelope: Envelope, client: AgentClient, attempt: int = 1, *, view: View | None = None
) -> str | None:
    """
    Take a turn that an agent has because somebody before it was hidden or removed, if it has:
    answer what was said last. Returns the reply's envelope id.

    Args:
        envelope: That says who has left.

    Cancellation: as `take_turn`.
    """
    for pending in await client.hub_client.pending_turns_for(
        client.agent_id, channel_id=envelope.channel_id
    ):
        if pending.triggering_envelope_id == envelope.envelope_id:
            channel = await client.channel(envelope.channel_id)
            for said in reversed(await channel.history(limit=_LOOK_BACK)):
                if is_turn(said) and said.sender_id != client.agent_id:
                    return await take_turn(said, client, attempt, view=view)
    return None


async def may_take_turn(envelope: Envelope, client: AgentClient, channel: Channel) -> bool:
    """Whether the channel is open, this was not answered before, and the agent may speak now."""
    if channel.state is not ChannelState.ACTIVE:
        return False
    # Answered before comes first: whose turn it is now says nothing about a turn that is over.
    if await already_replied(envelope, client):
        return False
    return await client.hub_client.can_send(envelope.channel_id, client.agent_id)


async def already_replied(envelope: Envelope, client: AgentClient) -> bool:
    """Whether the agent has posted an answer to this envelope before."""
    earlier = await client.hub_client.find_envelope_by_causation(
        envelope.channel_id, sender_id=client.agent_id, causation_id=envelope.envelope_id
    )
    return earlier is not None


async def ask_agent(
    envelope: Envelope,
    client: AgentClient,
    channel: Channel,
    attempt: int = 1,
    *,
    view: View | None = None,
) -> Reply:
    """
    Ask the agent, and return what it replies: None where the turn was cancelled meanwhile, whatever
    the agent returned or raised then.
    """
    sender_name = await client.hub_client.name_for(envelope.sender_id)
    identity = client.identity
    left = seconds_left(envelope, channel_expires_at=channel.metadata.expires_at, now=time.time())
    reply: Reply = None
    with identity.turns.running(
        envelope,
        reader_id=client.agent_id,
        seconds=left,
        arrived=identity.deliveries.waiting_in(envelope.channel_id),
    ) as running:
        turn = Turn(
            text=words_of(envelope),
            envelope=envelope,
            channel=channel,
            agent=client,
            sender_name=sender_name,
            attempt=attempt,
            trace_id=envelope.trace_id,
            view=view,
            cancel_scope=running.scope,
        )
        try:
            # What is over already is not begun.
            if not running.is_over():
                reply = await client.agent.ask(turn)
        except Exception as error:
            # The turn comes again for nothing: nobody waits for it any more.
            if not running.is_over():
                raise
            _log.info("a cancelled turn failed", error=type(error).__name__)
    return None if running.is_over() else reply


async def was_cancelled(envelope: Envelope, client: AgentClient, channel: Channel) -> bool:
    """Whether somebody has asked in the channel, so far, to cancel the turn of this envelope."""
    return any(
        why_it_ends(later, envelope, reader_id=client.agent_id) is not None
        for later in await channel.after(envelope.envelope_id)
    )


async def post_reply(
    reply: str | Handoff | Finish, envelope: Envelope, client: AgentClient, channel: Channel
) -> str | None:
    """
    Post an answer to an envelope, once however often this is called; return its envelope id.

    None where another process of the same agent has answered in the meantime.

    Raises:
        ProtocolError: It is a `Handoff` or a `Finish`, and the channel is no workflow.
        NotFoundError: There is nobody of the name that it hands off to.
    """
    event_type, event_data = await _written(reply, client, channel)
    try:
        return await client.send_envelope(
            Envelope(
                channel_id=envelope.channel_id,
                sender_id=client.agent_id,
                event_type=event_type,
                event_data=event_data,
                causation_id=envelope.envelope_id,
                trace_id=envelope.trace_id,
                depth=envelope.depth,
                idempotency_key=f"reply:{client.agent_id}:{envelope.envelope_id}",
            )
        )
    except ProtocolError:
        # The same key with other words: somebody was faster. The log knows.
        if await already_replied(envelope, client):
            return None
        raise


async def _written(
    reply: str | Handoff | Finish, client: AgentClient, channel: Channel
) -> tuple[str, dict[str, Any]]:
    if channel.is_workflow:
        target_id = ""
        if isinstance(reply, Handoff) and (reply.target or not reply.tool):
            target_id = await client.hub_client.id_for(reply.target)
        return EV_PACKET, packet_of(reply, target_id=target_id)
    if not isinstance(reply, str):
        kind = type(reply).__name__
        raise ProtocolError(
            f"{client.agent.name!r} answered with a {kind} in channel {channel.channel_id}, which "
            f"is a {channel.metadata.manifest.type}: only workflows know that"
        )
    return EV_TEXT, {"text": reply}
