"""
Asking somebody a question in a channel of its own, and waiting for the answer.

A question may have a key, so that whoever asks it again finds the channel of the first time. Nothing
is remembered for that but the channel: the hub makes its id of the key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs
import msgspec
import trio

from ..errors import NetworkError, ProtocolError
from ..records import EV_CHANNEL_CLOSED, EV_CHANNEL_EXPIRED, EV_TEXT, Envelope

if TYPE_CHECKING:
    from .agent_client import AgentClient
    from .channel import Channel

__all__ = ["Question", "consult", "keys_of"]

# How long one who gives up still tries to close the channel, so that nobody works on for nothing.
_LAST_WORDS_SECONDS: Final = 2.0
_ENDS: Final = (EV_CHANNEL_CLOSED, EV_CHANNEL_EXPIRED)
# A question, its answer, and whatever an application has posted beside them.
_LOOK_BACK: Final = 10


@attrs.frozen
class Question:
    """
    What is asked.

    Attributes:
        target: Whom: a name or an id.
        text: The words.
        depth: How many delegations deep it is.
        trace_id: The W3C traceparent that it belongs to.
    """

    target: str
    text: str
    depth: int = attrs.field(default=0, kw_only=True)
    trace_id: str | None = attrs.field(default=None, kw_only=True)


def keys_of(*which: str, attempts: int) -> list[str]:
    """
    Return the keys of one question of a turn: one for each attempt so far, this one's last.

    Args:
        which: Tells it apart from all other questions.
    """
    digest = hashlib.blake2b(msgspec.json.encode(which), digest_size=16).hexdigest()
    return [f"consult:{digest}:{number + 1}" for number in range(attempts)]


async def consult(
    asker: AgentClient, question: Question, *, timeout: float, keys: Sequence[str | None]
) -> str:
    """
    Ask, and return the answer. See `AgentClient.consult` and `Turn.delegate`.

    Args:
        keys: Under which it may have been asked before. Where what was asked under one of them has
            ended without an answer, the next one is taken; the last is this call's own. None is a
            question that is asked for the first and only time.
    """
    channel: Channel | None = None
    try:
        with trio.move_on_after(timeout):
            channel, key = await _channel_for(asker, question, keys)
            if channel.metadata.is_terminal:
                answer = await _answer_kept(asker, channel)
                if answer is None:
                    raise _closed(asker, question, channel, channel.metadata.close_reason)
                return answer
            await _ask(asker, question, channel, key)
            return await _answer(asker, question, channel)
        raise trio.TooSlowError(
            f"{question.target!r} did not answer {asker.name!r} within {timeout:g} s"
        )
    except BaseException:
        if channel is not None:
            with (
                trio.move_on_after(_LAST_WORDS_SECONDS, shield=True),
                suppress(NetworkError, trio.TooSlowError),
            ):
                await channel.close("the question was given up")
        raise


async def _channel_for(
    asker: AgentClient, question: Question, keys: Sequence[str | None]
) -> tuple[Channel, str | None]:
    """Return the channel that an answer is in, or may still come to, with its key."""
    for key in keys[:-1]:
        try:
            channel = await _opened(asker, question, key)
        except ProtocolError:
            # An attempt before this one has heard that: it was declined, or nobody was there.
            continue
        if not channel.metadata.is_terminal or await _answer_kept(asker, channel) is not None:
            return channel, key
    return await _opened(asker, question, keys[-1]), keys[-1]


async def _opened(asker: AgentClient, question: Question, key: str | None) -> Channel:
    return await asker.open(type="consulting", target=question.target, idempotency_key=key)


async def _ask(asker: AgentClient, question: Question, channel: Channel, key: str | None) -> None:
    envelope = Envelope(
        channel_id=channel.channel_id,
        sender_id=asker.agent_id,
        event_type=EV_TEXT,
        event_data={"text": question.text},
        trace_id=question.trace_id,
        depth=question.depth,
        idempotency_key=key,
    )
    try:
        await asker.send_envelope(envelope)
    except ProtocolError:
        # The same key in other words: what was asked first is the question.
        said = await channel.history(limit=_LOOK_BACK)
        if key is None or not any(it.sender_id == asker.agent_id for it in said):
            raise


async def _answer_kept(asker: AgentClient, channel: Channel) -> str | None:
    """Return the answer that stands in a channel's log, whoever heard it; None where none does."""
    for said in await channel.history(limit=_LOOK_BACK):
        if said.event_type == EV_TEXT and said.sender_id != asker.agent_id:
            return said.text
    return None


async def _answer(asker: AgentClient, question: Question, channel: Channel) -> str:
    def ends_it(envelope: Envelope) -> bool:
        if envelope.event_type == EV_TEXT:
            return envelope.sender_id != asker.agent_id
        return envelope.event_type in _ENDS

    end = await asker.identity.events.wait(channel.channel_id, ends_it)
    if end.event_type == EV_TEXT:
        return end.text
    reason = end.event_data.get("reason") or end.event_type
    raise _closed(asker, question, channel, reason)


def _closed(asker: AgentClient, question: Question, channel: Channel, why: str) -> ProtocolError:
    return ProtocolError(
        f"channel {channel.channel_id}, in which {asker.name!r} asked {question.target!r}, was "
        f"closed before there was an answer: {why}; ask again, or somebody else"
    )
