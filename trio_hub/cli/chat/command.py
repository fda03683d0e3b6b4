"""The command: who talks with whom, and how it ends."""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator, Awaitable, Callable

import trio

from ..._nursery import open_plain_nursery
from ...client import Channel, HubClient, HumanClient, Reconnect
from ..command import Command, CommandError
from ..connecting import add_connection_arguments, explained, make_link, passport_of
from ..logs import configure_logging
from ..signals import stopped_by_signals
from .lines import LineScreen, typed_lines
from .screen import Screen
from .talk import Talk

__all__ = ["CHAT"]

_DESCRIPTION = """\
Talk with an agent: each line that is typed is posted, what comes is shown. The conversation stays
open when you leave, and goes on the next time.

In a terminal there is a line to edit, with those typed before, and one above it that says how the
connection stands and who has the word (needs trio_hub[chat]). Elsewhere, and with --plain, what was
said goes to stdout and remarks go to stderr; through a pipe, the answer to the last line is waited
for.

Status 0: you have left; 1: the conversation has ended, the hub is gone, or no answer came in time;
2: the hub cannot be reached, or does not let us in; 130: Ctrl-C.
"""

_SIGNAL_STATUS = 128
# They can neither move the cursor nor say what they can do.
_DUMB_TERMINALS = ("", "dumb", "unknown")

_Talking = Callable[[Namespace], Awaitable[int]]


def _add_arguments(parser: ArgumentParser) -> None:
    add_connection_arguments(parser, name_help="who talks: a person's name, not an agent's")
    parser.add_argument("--to", required=True, metavar="NAME", help="the agent to talk with")
    parser.add_argument("--new", action="store_true", help="begin a new conversation")
    parser.add_argument(
        "--history",
        type=int,
        default=20,
        metavar="N",
        help="how many of the last texts to show first (default: %(default)s)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="talk line by line, also in a terminal"
    )
    parser.add_argument(
        "--forget",
        action="store_true",
        help="keep the lines that are typed in no file",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="how long the hub may be gone, and the answer to the last line of a pipe may take "
        "(default: %(default)g)",
    )


def _run(arguments: Namespace) -> int:
    if not arguments.timeout > 0:
        raise CommandError(f"--timeout {arguments.timeout:g} is not a time: give seconds above 0")
    if arguments.history < 0:
        raise CommandError(f"--history {arguments.history} is not a number of texts: 0 or more")
    configure_logging(level="error", format="text")
    return trio.run(_chat, arguments, _find_talking(arguments))


def _is_terminal() -> bool:
    return (
        sys.stdin.isatty()
        and sys.stdout.isatty()
        and os.environ.get("TERM", "").lower() not in _DUMB_TERMINALS
    )


def _find_talking(arguments: Namespace) -> _Talking:
    if arguments.plain or not _is_terminal():
        return _talk_in_lines
    try:
        # It is optional, and who pipes does not wait for it.
        from .terminal import history_path, open_terminal
    except ImportError as error:
        raise CommandError(str(error)) from error

    async def talk(arguments: Namespace) -> int:
        history_file = None if arguments.forget else history_path()
        async with (
            open_terminal(arguments.name, history_file=history_file) as terminal,
            open_plain_nursery() as nursery,
        ):
            begun = trio.Event()
            nursery.start_soon(_leave_unbegun, terminal.left, begun, nursery.cancel_scope)
            status = await _talk(arguments, terminal, terminal.lines(), begun=begun)
            nursery.cancel_scope.cancel()
            return status
        return 0

    return talk


async def _leave_unbegun(left: trio.Event, begun: trio.Event, scope: trio.CancelScope) -> None:
    """Wait for nothing that is only on its way, when the person has left."""
    await left.wait()
    if not begun.is_set():
        scope.cancel()


async def _talk_in_lines(arguments: Namespace) -> int:
    return await _talk(arguments, LineScreen(), typed_lines(), begun=trio.Event())


async def _chat(arguments: Namespace, talking: _Talking) -> int:
    status = 0
    async with stopped_by_signals(second_ends_at_once=True) as stop:
        with stop.scope, explained(arguments):
            status = await talking(arguments)
    if stop.signal is not None:
        return _SIGNAL_STATUS + signal.Signals(stop.signal).value
    return status


async def _talk(
    arguments: Namespace, screen: Screen, typed: AsyncIterator[str], *, begun: trio.Event
) -> int:
    client = HubClient(
        make_link(arguments),
        reconnect=Reconnect(give_up_after_seconds=arguments.timeout),
        request_timeout=arguments.timeout,
    )
    async with client:
        talk = Talk(client, screen, peer_name=arguments.to, timeout_seconds=arguments.timeout)
        human = await client.attach_human(
            arguments.name, passport=passport_of(arguments), on_envelope=talk.hear
        )
        channel = await _find_or_open(client, human, arguments.to, new=arguments.new)
        begun.set()
        with client.observed_by(talk.observe):
            screen.show_connection(client.state)
            return await talk.hold(channel, typed, history=arguments.history)


async def _find_or_open(client: HubClient, human: HumanClient, peer: str, *, new: bool) -> Channel:
    """Return the newest conversation of the two that is open, or a new one."""
    peer_id = await client.id_for(peer)
    if peer_id == human.agent_id:
        raise CommandError(f"--to {peer}: a conversation takes two")
    if not new:
        both = {human.agent_id, peer_id}
        open_ones = [
            one
            for one in await client.list_channels(agent_id=human.agent_id)
            if one.manifest.type == "conversation" and set(one.participant_ids) == both
        ]
        if open_ones:
            newest = max(open_ones, key=lambda one: (one.created_at, one.channel_id))
            return await human.channel(newest.channel_id)
    return await human.open(type="conversation", target=peer_id)


CHAT = Command(
    description=_DESCRIPTION,
    add_arguments=_add_arguments,
    run=_run,
)
