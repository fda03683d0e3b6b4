"""
The agents of `one_turn` with AG2's client and its default handler, over WebSocket.

Run by `benchmarks.questions.one_turn` with an interpreter that has `ag2`; imports nothing of this
project. In place of a model there is AG2's own scripted one. Prints what `turns_ours` prints.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time

from ag2 import Agent
from ag2.config import ModelConfig
from ag2.network import (
    EV_CHANNEL_INVITE,
    EV_TEXT,
    AgentClient,
    Channel,
    Envelope,
    HubClient,
    InboxBlock,
    LimitsBlock,
    Passport,
    Resume,
    Rule,
    WsLink,
)
from ag2.network.client.handlers import default_handler
from ag2.testing import TestConfig


def _agent(name: str, turns: int) -> Agent:
    model: ModelConfig = TestConfig(*["yes"] * turns)
    return Agent(name, config=model)


async def _join(client: HubClient, name: str, turns: int) -> AgentClient:
    rule = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))
    joined = await client.register(_agent(name, turns), Passport(name=name), Resume(), rule=rule)
    _listen(joined)
    return joined


def _listen(client: AgentClient) -> None:
    """Only accept invites from now on."""

    async def handle(envelope: Envelope) -> None:
        if envelope.event_type == EV_CHANNEL_INVITE:
            await default_handler(envelope, client)

    client.on_envelope(handle)


async def _milliseconds(alice: AgentClient, bob: AgentClient, channel: Channel) -> float:
    async def handle(envelope: Envelope) -> None:
        await default_handler(envelope, bob)

    bob.on_envelope(handle)
    begun = time.perf_counter()
    await channel.send("well?")
    await alice.wait_for_channel_event(
        channel_id=channel.channel_id,
        predicate=lambda it: it.event_type == EV_TEXT and it.sender_id == bob.agent_id,
        timeout=60,
    )
    took = 1000 * (time.perf_counter() - begun)
    _listen(bob)
    return took


async def measure(url: str, lengths: list[int], turns: int) -> dict[int, float]:
    """Take `turns` turns at each length. The channel of the last length is used for them all."""
    theirs, ours = HubClient(WsLink(url)), HubClient(WsLink(url))
    await theirs.open()
    await ours.open()
    bob = await _join(theirs, "bob", turns * (len(lengths) + 1))
    alice = await _join(ours, "alice", 1)
    medians: dict[int, float] = {}
    for length in [lengths[0], *lengths]:  # once more to warm up
        took: list[float] = []
        channel: Channel | None = None
        for _ in range(turns):
            if channel is None or length == lengths[0]:
                channel = await alice.open(type="conversation", target=[bob.agent_id])
                for number in range(length):
                    await channel.send(f"something that was said before, {number}")
            took.append(await _milliseconds(alice, bob, channel))
        medians[length] = statistics.median(took)
    await ours.close()
    await theirs.close()
    return medians


def main() -> None:
    """Read the flags, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--turns", type=int, required=True)
    parser.add_argument("--lengths", type=int, nargs="+", required=True)
    it = parser.parse_args()
    print(json.dumps(asyncio.run(measure(it.url, it.lengths, it.turns))), flush=True)


if __name__ == "__main__":
    main()
