"""
The agents of `one_turn` with this project's client, over WebSocket: default handler, whole way.

Run by `benchmarks.questions.one_turn` with the interpreter that has `trio_hub`. Prints one line of
JSON: milliseconds of the median turn for each length.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter

import trio

from trio_hub import AgentClient, Channel, Envelope, HubClient, Passport, Turn, WsLink
from trio_hub.client import accept_invite, default_handler
from trio_hub.records import EV_CHANNEL_INVITE, EV_TEXT, InboxBlock, LimitsBlock, Rule

_AT_ONCE = 100
_NO_LIMIT = Rule(limits=LimitsBlock(inbox=InboxBlock(max_pending=0)))


async def _answer(turn: Turn) -> str:
    # What a model would be given is made ready: that is what may grow.
    await turn.lines()
    return "yes"


class _Listener:
    """Accepts invites, and counts what is said: a turn that begins behind it measures that too."""

    def __init__(self) -> None:
        self._heard: Counter[str] = Counter()
        self._heard_more = trio.Event()

    async def __call__(self, envelope: Envelope, client: AgentClient, _attempt: int) -> None:
        """Handle an envelope."""
        if envelope.event_type == EV_CHANNEL_INVITE:
            await accept_invite(envelope, client)
        elif envelope.event_type == EV_TEXT:
            self._heard[envelope.channel_id] += 1
            self._heard_more.set()

    async def wait_for(self, count: int, channel_id: str) -> None:
        """Wait until so much was said in a channel."""
        while self._heard[channel_id] < count:
            self._heard_more = trio.Event()
            await self._heard_more.wait()


async def _fill(channel: Channel, count: int) -> None:
    for start in range(0, count, _AT_ONCE):
        async with trio.open_nursery() as nursery:
            for number in range(start, min(count, start + _AT_ONCE)):
                nursery.start_soon(channel.send, f"something that was said before, {number}")


async def _milliseconds(
    alice: AgentClient, bob: AgentClient, channel: Channel, listener: _Listener
) -> float:
    bob.handle_with(default_handler)
    begun = time.perf_counter()
    await channel.send("well?")
    await alice.wait_for_channel_event(
        channel_id=channel.channel_id,
        predicate=lambda it: it.event_type == EV_TEXT and it.sender_id == bob.agent_id,
    )
    took = 1000 * (time.perf_counter() - begun)
    bob.handle_with(listener)
    return took


async def measure(url: str, lengths: list[int], turns: int) -> dict[int, float]:
    """Take `turns` turns at each length. The channel of the last length is used for them all."""
    async with HubClient(WsLink(url)) as theirs, HubClient(WsLink(url)) as ours:
        listener = _Listener()
        bob = await theirs.register(_answer, Passport(name="bob"), rule=_NO_LIMIT, handler=listener)
        alice = await ours.register(
            _answer, Passport(name="alice"), rule=_NO_LIMIT, handler=_Listener()
        )
        medians: dict[int, float] = {}
        for length in [lengths[0], *lengths]:  # once more to warm up
            took: list[float] = []
            channel: Channel | None = None
            for _ in range(turns):
                if channel is None or length == lengths[0]:
                    channel = await alice.open(type="conversation", target=bob.agent_id)
                    await _fill(channel, length)
                    await listener.wait_for(length, channel.channel_id)
                took.append(await _milliseconds(alice, bob, channel, listener))
            medians[length] = statistics.median(took)
        return medians


def main() -> None:
    """Read the flags, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--turns", type=int, required=True)
    parser.add_argument("--lengths", type=int, nargs="+", required=True)
    it = parser.parse_args()
    print(json.dumps(trio.run(measure, it.url, it.lengths, it.turns)), flush=True)


if __name__ == "__main__":
    main()
