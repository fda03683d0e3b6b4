"""
What happens in the demonstration, in order, and what is checked on the way.

Nothing is claimed of a process but what it said or what killed it; nothing of the log but what
was read from it, over the wire while the hub runs and from the disk when all is over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from ...hub import Hub
from ...records import EV_TEXT
from ...stores import DiskKnowledgeStore
from .cast import Actor, Cast
from .screen import Screen

__all__ = ["tell_story"]

_FIRST_QUESTION = "Can a customer return a used kettle?"
_SECOND_QUESTION = "And a used toaster?"


async def tell_story(cast: Cast, screen: Screen) -> None:
    """
    Play everything from the first process to the last.

    Raises:
        Unexpected: A process ended that should not have.

    Cancellation: the cast ends the processes.
    """
    hub, url = await cast.hub()
    screen.tell("hub", f"listening on {url} (pid {hub.pid}), on a temporary disk store")
    bob = await cast.agent("bob", url, "--think")
    alice = await cast.agent("alice", url)
    await bob.hear("attached")
    await alice.hear("registered")
    screen.tell("bob", f"registered (pid {bob.pid})")
    screen.tell("alice", f"registered (pid {alice.pid})")

    asked = await _ask(alice, _FIRST_QUESTION, screen)
    bob = await _kill_in_mid_turn(cast, bob, alice, asked, url, screen)
    first = await _answered_once(alice, asked, screen)

    hub = await _kill_hub(cast, hub, url, (alice, bob), screen)
    screen.check("the first consult is still in the log", await _log(alice, asked) == first)
    asked_again = await _ask(alice, _SECOND_QUESTION, screen)
    second = await _answered_once(alice, asked_again, screen)

    await _end_all(hub, alice, bob, screen)
    # What she was sent until her very last line: had anything come twice, it would be here.
    answers = [event["envelope_id"] for event in alice.seen if event["event"] == "answer"]
    expected = [first[1]["envelope_id"], second[1]["envelope_id"]]
    screen.check("alice saw each answer exactly once", answers == expected)
    on_disk = await _texts_on_disk(cast.folder / "data")
    screen.check(
        "the disk holds two questions and two answers, nothing twice",
        on_disk == {asked["channel_id"]: _ids(first), asked_again["channel_id"]: _ids(second)},
    )


async def _ask(alice: Actor, question: str, screen: Screen) -> dict[str, Any]:
    await alice.tell(ask=question)
    asked = await alice.hear("asked")
    screen.tell("alice", f"asks bob: {question}")
    return asked


async def _kill_in_mid_turn(
    cast: Cast, bob: Actor, alice: Actor, asked: dict[str, Any], url: str, screen: Screen
) -> Actor:
    """Kill bob after he has the question and before he answers; return the next bob."""
    await bob.hear("received", envelope_id=asked["envelope_id"])
    screen.tell("bob", "has the question, and begins to think")
    died = await bob.kill()
    screen.tell("demo", f"kill -9 {bob.pid} (bob)")
    said = [event["event"] for event in bob.seen]
    unanswered = len(await _log(alice, asked)) == 1
    screen.check(
        "bob died with the question and without an answer",
        died and "answering" not in said and unanswered,
    )
    again = await cast.agent("bob", url)
    await again.hear("attached")
    screen.tell("bob", f"is back (pid {again.pid}) and attaches")
    received = await again.hear("received", envelope_id=asked["envelope_id"])
    screen.tell("bob", f"gets the same question again (attempt {received['attempt']})")
    return again


async def _answered_once(
    alice: Actor, asked: dict[str, Any], screen: Screen
) -> list[dict[str, Any]]:
    """Wait for the answer and for the end of the channel; return what its log holds."""
    channel_id = asked["channel_id"]
    answer = await alice.hear("answer", channel_id=channel_id)
    screen.tell("alice", f"hears: {answer['text']}")
    # A consult closes itself after its answer, and deliveries come in the order of the log.
    await alice.hear("closed", channel_id=channel_id)
    log = await _log(alice, asked)
    replies = [line for line in log if line["causation_id"] == asked["envelope_id"]]
    screen.check(
        "the log holds exactly one answer, and it is the one that alice heard",
        len(log) == 2 and [line["envelope_id"] for line in replies] == [answer["envelope_id"]],
    )
    return log


async def _kill_hub(
    cast: Cast, hub: Actor, url: str, agents: tuple[Actor, ...], screen: Screen
) -> Actor:
    """Kill the hub, start it on the same data and port, and wait until both are back."""
    died = await hub.kill()
    screen.tell("demo", f"kill -9 {hub.pid} (the hub)")
    for agent in agents:
        await agent.hear("connection", state="reconnecting")
    again, url_again = await cast.hub(urlsplit(url).port or 0)
    screen.tell("hub", f"listening again (pid {again.pid}), on the same data")
    for agent in agents:
        await agent.hear("connection", state="live")
    screen.check("both agents came back to it by themselves", died and url_again == url)
    return again


async def _log(alice: Actor, asked: dict[str, Any]) -> list[dict[str, Any]]:
    await alice.tell(log=asked["channel_id"])
    texts: list[dict[str, Any]] = (await alice.hear("log"))["texts"]
    return texts


async def _end_all(hub: Actor, alice: Actor, bob: Actor, screen: Screen) -> None:
    statuses: dict[str, int] = {}

    async def dismiss(actor: Actor) -> None:
        statuses[actor.name] = await actor.dismiss()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(dismiss, alice)
        nursery.start_soon(dismiss, bob)
    await dismiss(hub)
    screen.check("all processes ended in good order", set(statuses.values()) == {0})


async def _texts_on_disk(data: Path) -> dict[str, list[str]]:
    """Read every channel with the hub's own eyes, from the files that are left."""
    async with Hub.open(DiskKnowledgeStore(data)) as hub:
        return {
            channel.channel_id: [
                envelope.envelope_id
                for envelope in await hub.read_wal(channel.channel_id)
                if envelope.event_type == EV_TEXT
            ]
            for channel in hub.list_channels(limit=None)
        }


def _ids(log: list[dict[str, Any]]) -> list[str]:
    return [line["envelope_id"] for line in log]
