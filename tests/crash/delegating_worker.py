"""
A worker that answers each question with what an expert says to it.

``python -m tests.crash.delegating_worker URL [stands]``: it says ``asking``, then ``heard``, for each
turn; one that stands is still in the turn after that, for whoever has started it to kill it.
"""

from __future__ import annotations

import sys

import trio

from trio_hub import HubClient, Passport, Turn, WsLink

from .turn_worker import say


async def main(url: str, stands: str = "") -> None:
    """Answer questions for ever."""

    async def ask(turn: Turn) -> str:
        say("asking")
        answer = await turn.delegate("expert", turn.text)
        say("heard")
        if stands:
            await trio.sleep_forever()
        return f"{turn.text}: {answer}"

    async with HubClient(WsLink(url)) as client:
        await client.attach(ask, "worker", passport=Passport(name="worker"))
        say("attached")
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
