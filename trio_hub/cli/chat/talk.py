"""One conversation of a person with an agent, for as long as there is something to type."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import trio

from ..._nursery import open_plain_nursery
from ...client import Channel, ClientState, HubClient, IdentityChange, StateChange
from ...errors import ConnectionLost, InboxFull, RateLimited
from ...protocol.views import words_of
from ...records import EV_CHANNEL_CLOSED, EV_CHANNEL_EXPIRED, Envelope, is_bookkeeping
from .exchange import Exchange
from .screen import Screen
from .turns import show_turns

__all__ = ["Talk"]

_ENDS: Final = (EV_CHANNEL_CLOSED, EV_CHANNEL_EXPIRED)
_RETRY_SECONDS: Final = 1.0
# Changes that wait to be shown; a person who reads nothing misses further ones.
_CHANGES_MAX: Final = 64


class Talk:
    """
    What is said, shown and waited for. `hear` and `observe` are told from the beginning on; `hold`
    is the conversation itself.

    Args:
        client: The connection.
        screen: Where it is shown.
        peer_name: Whom the person talks with.
        timeout_seconds: How long the last answer may take, once nothing more is typed.
    """

    def __init__(
        self, client: HubClient, screen: Screen, *, peer_name: str, timeout_seconds: float
    ) -> None:
        self._client = client
        self._screen = screen
        self._peer_name = peer_name
        self._timeout_seconds = timeout_seconds
        self._channel: Channel | None = None
        self._ready = trio.Event()
        self._shown: set[str] = set()
        self._exchange = Exchange()
        self._status = 0
        self._scope = trio.CancelScope()
        self._tell, self._told = trio.open_memory_channel[str](_CHANGES_MAX)

    # What is called from inside the client

    def observe(self, change: StateChange | IdentityChange) -> None:
        """The connection, or the person's place on it, is in another state."""
        over = False
        if isinstance(change, StateChange):
            self._screen.show_connection(change.state)
        if isinstance(change, IdentityChange):
            if change.what != "detached":
                return
            text, over = f"{change.name} is not here any more: {change.reason}", True
        elif change.state is ClientState.RECONNECTING:
            text = f"the connection is lost, trying again: {change.reason}"
        elif change.state is ClientState.LIVE:
            text = "connected again"
        else:
            text, over = f"the hub is gone: {change.reason}", True
        with suppress(trio.WouldBlock, trio.ClosedResourceError):
            self._tell.send_nowait(text)
        if over:
            self._tell.close()

    async def hear(self, envelope: Envelope) -> None:
        """Show an envelope; it is settled with that."""
        await self._ready.wait()
        try:
            await self._show(envelope)
        except OSError:
            # Nobody looks at the screen any more. The envelope must come again then.
            self._end(1)
            raise

    # The conversation

    async def hold(self, channel: Channel, typed: AsyncIterator[str], *, history: int) -> int:
        """
        Show the last that was said, then pass on what is typed and show what comes.

        At the end of what is typed, a terminal leaves at once; otherwise the answer to the last
        line is waited for.

        Args:
            history: How many texts of before to show.

        Returns:
            The exit status: 1 where the conversation ended before the person did.

        Raises:
            NetworkError, trio.TooSlowError: A line could not be posted.

        Cancellation: the channel stays open, for the next time.
        """
        self._channel = channel
        await self._show_history(channel, history)
        self._ready.set()
        with self._scope:
            async with open_plain_nursery() as nursery:
                nursery.start_soon(self._show_changes)
                nursery.start_soon(self._show_turns, channel)
                await self._pass_on(channel, typed)
                if not sys.stdin.isatty():
                    await self._wait_for_answer()
                nursery.cancel_scope.cancel()
        return self._status

    async def _show_history(self, channel: Channel, limit: int) -> None:
        before = await channel.history(limit=limit)
        names = await self._client.names_for({one.sender_id for one in before})
        for envelope in before:
            assert envelope.envelope_id is not None
            self._shown.add(envelope.envelope_id)
            await self._screen.say(
                names.get(envelope.sender_id, envelope.sender_id), words_of(envelope)
            )
        await self._screen.remark(
            f"talking with {self._peer_name} in {channel.channel_id}; Ctrl-D leaves"
        )

    async def _show(self, envelope: Envelope) -> None:
        assert self._channel is not None
        here = envelope.channel_id == self._channel.channel_id
        if here and envelope.event_type in _ENDS:
            reason = envelope.event_data.get("reason") or envelope.event_type
            await self._screen.remark(f"the conversation has ended: {reason}")
            self._end(1)
        if is_bookkeeping(envelope.event_type) or envelope.envelope_id in self._shown:
            return
        name = (await self._client.names_for([envelope.sender_id])).get(envelope.sender_id)
        if not here:
            await self._screen.remark(f"in another channel, {envelope.channel_id}:")
        await self._screen.say(name or envelope.sender_id, words_of(envelope))
        if here:
            self._exchange.heard(envelope)

    async def _show_turns(self, channel: Channel) -> None:
        await show_turns(channel, self._exchange, self._screen, peer_name=self._peer_name)

    async def _show_changes(self) -> None:
        async for text in self._told:
            await self._screen.remark(text)
        # Another connection has the name: nothing comes here any more.
        self._end(1)

    async def _pass_on(self, channel: Channel, typed: AsyncIterator[str]) -> None:
        async for line in typed:
            try:
                envelope_id = await self._post(channel, line)
            except ConnectionLost:
                if self._client.state is not ClientState.CLOSED:
                    raise
                # `observe` has heard why, and ends the conversation.
                await trio.sleep_forever()
            self._exchange.asked(envelope_id)

    async def _post(self, channel: Channel, line: str) -> str:
        key = self._client.new_key()
        while True:
            try:
                return await channel.send(line, idempotency_key=key)
            except (InboxFull, RateLimited) as error:
                seconds = error.retry_after_seconds or _RETRY_SECONDS
                await self._screen.remark(f"too much at once, again in {seconds:g} s: {error}")
            await trio.sleep(seconds)

    async def _wait_for_answer(self) -> None:
        with trio.move_on_after(self._timeout_seconds):
            await self._exchange.until(is_open=False)
            return
        await self._screen.remark(
            f"{self._peer_name} gave no answer within {self._timeout_seconds:g} s"
        )
        self._status = 1

    def _end(self, status: int) -> None:
        self._status = status
        self._scope.cancel()
