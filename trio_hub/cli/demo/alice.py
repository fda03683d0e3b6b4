"""
Alice's process: asks bob what she is told to ask, and says everything that she sees.

Told by lines on stdin: ``{"ask": TEXT}`` and ``{"log": CHANNEL_ID}``; she leaves at their end.
Run as ``python -m trio_hub.cli.demo.alice URL``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import trio

from ...client import AgentClient, HubClient, Turn
from ...links import WsLink
from ...records import EV_CHANNEL_CLOSED, EV_TEXT, Envelope, Passport
from .lines import say, stdin_lines
from .reconnecting import QUICKLY, say_connection

NAME = "alice"


async def _answer_nobody(_turn: Turn) -> None:
    """She only asks."""


async def _see(envelope: Envelope, _client: AgentClient, attempt: int) -> None:
    """Say every envelope that is delivered, so that one that came twice would show."""
    if envelope.event_type == EV_TEXT:
        say(
            "answer",
            channel_id=envelope.channel_id,
            envelope_id=envelope.envelope_id,
            causation_id=envelope.causation_id,
            text=envelope.text,
            attempt=attempt,
        )
    elif envelope.event_type == EV_CHANNEL_CLOSED:
        say("closed", channel_id=envelope.channel_id)


async def _do(command: dict[str, Any], alice: AgentClient) -> None:
    if "ask" in command:
        channel = await alice.open(type="consulting", target="bob")
        question_id = await channel.send(command["ask"])
        say("asked", channel_id=channel.channel_id, envelope_id=question_id)
    else:
        channel_id = command["log"]
        log = await alice.hub_client.read_wal(channel_id)
        say("log", channel_id=channel_id, texts=[_line(each) for each in log if _is_text(each)])


def _is_text(envelope: Envelope) -> bool:
    return envelope.event_type == EV_TEXT


def _line(envelope: Envelope) -> dict[str, Any]:
    return {
        "envelope_id": envelope.envelope_id,
        "sender_id": envelope.sender_id,
        "causation_id": envelope.causation_id,
        "text": envelope.text,
    }


async def _main(url: str) -> None:
    commands = stdin_lines()
    async with HubClient(WsLink(url), reconnect=QUICKLY) as hub_client:
        with hub_client.observed_by(say_connection):
            alice = await hub_client.register(_answer_nobody, Passport(name=NAME), handler=_see)
            say("registered", agent_id=alice.agent_id)
            while (line := await commands.next_line()) is not None:
                await _do(json.loads(line), alice)


if __name__ == "__main__":
    trio.run(_main, sys.argv[1])
