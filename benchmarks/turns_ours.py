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


async def _listen(envelope: Envelope, client: AgentClient, _attempt: int) -> None:
    if envelope.event_type == EV_CHANNEL_INVITE:
        await accept_invite(envelope, client)


async def _fill(channel: Channel, count: int) -> None:
    for start in range(0, count, _AT_ONCE):
        async with trio.open_nursery() as nursery:
            for number in range(start, min(count, start + _AT_ONCE)):
                nursery.start_soon(channel.send, f"something that was said before, {number}")


async def _milliseconds(alice: AgentClient, bob: AgentClient, channel: Channel) -> float:
    bob.handle_with(default_handler)
    begun = time.perf_counter()
    await channel.send("well?")
    await alice.wait_for_channel_event(
        channel_id=channel.channel_id,
        predicate=lambda it: it.event_type == EV_TEXT and it.sender_id == bob.agent_id,
    )
    took = 1000 * (time.perf_counter() - begun)
    bob.handle_with(_listen)
    return took


async def measure(url: str, lengths: list[int], turns: int) -> dict[int, float]:
    """Take `turns` turns at each length. The channel of the last length is used for them all."""
    async with HubClient(WsLink(url)) as theirs, HubClient(WsLink(url)) as ours:
        bob = await theirs.register(_answer, Passport(name="bob"), rule=_NO_LIMIT, handler=_listen)
        alice = await ours.register(
            _answer, Passport(name="alice"), rule=_NO_LIMIT, handler=_listen
        )
        medians: dict[int, float] = {}
        for length in [lengths[0], *lengths]:  # once more to warm up
            took: list[float] = []
            channel: Channel | None = None
            for _ in range(turns):
                if channel is None or length == lengths[0]:
                    channel = await alice.open(type="conversation", target=bob.agent_id)
                    await _fill(channel, length)
                took.append(await _milliseconds(alice, bob, channel))
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
