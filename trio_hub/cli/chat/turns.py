"""Who has the word, and what becomes of it: the hub is asked for as long as an answer is awaited."""

from __future__ import annotations

from typing import Final

import trio

from ...client import Channel
from ...errors import NetworkError, ProtocolError
from .exchange import Exchange
from .screen import Screen

__all__ = ["show_turns"]

# A person sees no difference; a hub answers from memory.
_LOOK_SECONDS: Final = 1.0
# A connection that is not there shows by itself.
_ASK_SECONDS: Final = 5.0


async def show_turns(
    channel: Channel, exchange: Exchange, screen: Screen, *, peer_name: str
) -> None:
    """
    Show who has the word, until cancelled.

    Raises:
        OSError: Nobody looks at the screen any more.

    Cancellation: what was shown last stays.
    """
    has_the_word = f"{peer_name} has the word"
    knows_more = True
    while True:
        await exchange.until(is_open=True)
        shown = has_the_word
        await screen.show_turn(shown)
        while exchange.is_open():
            with trio.move_on_after(_LOOK_SECONDS):
                await exchange.until(is_open=False)
            text = has_the_word
            if exchange.is_open() and knows_more:
                try:
                    text = await _standing(channel, exchange.asked_id, peer_name) or has_the_word
                except ProtocolError:
                    # A hub of AG2, or an older one of ours.
                    knows_more = False
                except (NetworkError, trio.TooSlowError):
                    text = has_the_word
            # The answer may have come meanwhile.
            if exchange.is_open() and text != shown:
                shown = text
                await screen.show_turn(shown)
        await screen.show_turn("")


async def _standing(channel: Channel, envelope_id: str, peer_name: str) -> str:
    """Say how far an envelope has come, in words; "" where there is nothing to say."""
    with trio.fail_after(_ASK_SECONDS):
        rows = await channel.standing(envelope_id)
    for row in rows:
        match row.state:
            case "in flight":
                return f"{peer_name} is at work"
            case "waiting":
                return f"{peer_name} failed, and tries again soon"
            case "settled":
                return f"{peer_name} has read it, and has not answered"
            case "dead":
                return f"{peer_name} failed, and does not try again"
            case "unsent" if not row.is_connected:
                return f"{peer_name} is away"
    return ""
