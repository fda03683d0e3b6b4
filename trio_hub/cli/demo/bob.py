"""
Bob's process: answers, or thinks about the answer for ever.

``--think`` makes him say that he has the question, and then never come to an answer: that is the
moment in which he is killed. He leaves when his stdin ends.
Run as ``python -m trio_hub.cli.demo.bob URL [--think]``.
"""

from __future__ import annotations

import sys

import trio

from ...client import HubClient, Turn
from ...links import WsLink
from ...records import Passport
from .lines import say, stdin_lines
from .reconnecting import QUICKLY, say_connection

NAME = "bob"


async def _think(turn: Turn) -> str:
    say("received", text=turn.text, envelope_id=turn.envelope.envelope_id, attempt=turn.attempt)
    return await trio.sleep_forever()


async def _answer(turn: Turn) -> str:
    say("received", text=turn.text, envelope_id=turn.envelope.envelope_id, attempt=turn.attempt)
    reply = f"{turn.text.rstrip('?')}: yes, within 30 days"
    say("answering", text=reply)
    return reply


async def _main(url: str, thinks: bool) -> None:
    commands = stdin_lines()
    async with HubClient(WsLink(url), reconnect=QUICKLY) as hub_client:
        with hub_client.observed_by(say_connection):
            # Registers the first time; later binds what the hub knows of him.
            bob = await hub_client.attach(
                _think if thinks else _answer, NAME, passport=Passport(name=NAME)
            )
            say("attached", agent_id=bob.agent_id)
            while await commands.next_line() is not None:
                pass


if __name__ == "__main__":
    trio.run(_main, sys.argv[1], "--think" in sys.argv[2:])
