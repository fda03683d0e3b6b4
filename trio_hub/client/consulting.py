"""Asking somebody a question in a channel of its own, and waiting for the answer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from ..errors import NetworkError, ProtocolError
from ..records import EV_CHANNEL_CLOSED, EV_CHANNEL_EXPIRED, EV_TEXT, Envelope

if TYPE_CHECKING:
    from .agent_client import AgentClient
    from .channel import Channel

__all__ = ["consult"]

# How long one who gives up still tries to close the channel, so that nobody works on for nothing.
_LAST_WORDS_SECONDS: Final = 2.0
_ENDS: Final = (EV_CHANNEL_CLOSED, EV_CHANNEL_EXPIRED)


async def consult(
    asker: AgentClient, target: str, text: str, *, timeout: float, depth: int, trace_id: str | None
) -> str:
    """See `AgentClient.consult` and `Turn.delegate`."""
    channel: Channel | None = None
    try:
        with trio.move_on_after(timeout):
            channel = await asker.open(type="consulting", target=target)
            question = Envelope(
                channel_id=channel.channel_id,
                sender_id=asker.agent_id,
                event_type=EV_TEXT,
                event_data={"text": text},
                trace_id=trace_id,
                depth=depth,
            )
            await asker.send_envelope(question)
            return await _answer(asker, channel, target)
        raise trio.TooSlowError(f"{target!r} did not answer {asker.name!r} within {timeout:g} s")
    except BaseException:
        if channel is not None:
            with (
                trio.move_on_after(_LAST_WORDS_SECONDS, shield=True),
                suppress(NetworkError, trio.TooSlowError),
            ):
                await channel.close("the question was given up")
        raise


async def _answer(asker: AgentClient, channel: Channel, target: str) -> str:
    def ends_it(envelope: Envelope) -> bool:
        if envelope.event_type == EV_TEXT:
            return envelope.sender_id != asker.agent_id
        return envelope.event_type in _ENDS

    end = await asker.identity.events.wait(channel.channel_id, ends_it)
    if end.event_type == EV_TEXT:
        return end.text
    reason = end.event_data.get("reason") or end.event_type
    raise ProtocolError(
        f"channel {channel.channel_id}, in which {asker.name!r} asked {target!r}, was closed "
        f"before there was an answer: {reason}; ask again, or somebody else"
    )
