"""
Keeping a connection: connect, bring everybody back, live, and begin again.

Reading `keep` and `_connect_once` from top to bottom tells the whole life of a connection.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from .._logging import get_logger
from ..errors import AuthError, ConnectionLost, HubClosing, NetworkError, TakenOver, error_from_code
from ..wire.frames import ErrorFrame, NotifyFrame, ResponseFrame
from .connection import Connection
from .requester import Requester
from .roster import Roster
from .state_board import StateBoard
from .states import ClientState, Reconnect

if TYPE_CHECKING:
    from ..links.base import Link

__all__ = ["Keeper"]

_log = get_logger("trio_hub.client")
# How long a hub that said it is closing may take to answer what it still can.
_FAREWELL_SECONDS_MAX = 10.0


class Keeper:
    """
    The task that keeps the connection of one client.

    Args:
        link: How to reach the hub.
        reconnect: How to come back; None is not at all.
        rng: Source of jitter.

    Attributes:
        connection: The present one, from its first frame to its last.
        losses: How many connections were lost so far.
        leaving: Set when there is to be no other connection.
    """

    def __init__(
        self,
        link: Link,
        reconnect: Reconnect | None,
        rng: random.Random,
        board: StateBoard,
        requester: Requester,
        roster: Roster,
    ) -> None:
        self.connection: Connection | None = None
        self.losses = 0
        self.leaving = False
        self._link = link
        self._reconnect = reconnect
        self._rng = rng
        # Only the hub is told: who knew it could keep this client from coming back.
        self._client = f"{rng.getrandbits(128):032x}"
        self._board = board
        self._requester = requester
        self._roster = roster
        self._nursery: trio.Nursery

    async def keep(self, nursery: trio.Nursery, *, task_status: trio.TaskStatus[None]) -> None:
        """
        Keep a connection for ever, or until it is given up; reports started once it is live.

        Raises:
            NetworkError: The hub could not be reached in the first place.
        """
        self._nursery = nursery
        waits = 0
        down_since = trio.current_time()
        started = False
        while True:
            on_live = _nothing if started else task_status.started
            lost, was_live = await self._connect_once(on_live)
            self.losses += 1
            started = started or was_live
            if was_live:
                waits, down_since = 0, trio.current_time()
            delay = self._delay(lost, waits)
            reason = self._why_give_up(lost, started, down_since, delay)
            if reason is not None:
                if not started:
                    raise reason
                self.close(reason)
                return
            self._board.set(ClientState.RECONNECTING if started else ClientState.CONNECTING, lost)
            waits += 1
            await trio.sleep(delay)
            if self.leaving:
                return

    def close(self, error: NetworkError) -> None:
        """There will be no connection any more: everybody who waits is told so. Idempotent."""
        self._requester.connection = None
        if self._board.set(ClientState.CLOSED, error):
            self._requester.calls.fail_all(str(error))
            self._roster.end(str(error))

    def _delay(self, lost: NetworkError, waits: int) -> float:
        if self._reconnect is None:
            return 0.0
        return max(self._reconnect.backoff.delay(waits, self._rng), lost.retry_after_seconds or 0.0)

    def _why_give_up(
        self, lost: NetworkError, started: bool, down_since: float, delay: float
    ) -> NetworkError | None:
        if self.leaving:
            return ConnectionLost("this client was closed")
        if self._reconnect is None or not lost.retryable:
            return lost
        if not started and not self._reconnect.wait_for_hub:
            return lost
        limit = self._reconnect.give_up_after_seconds
        if limit is not None and trio.current_time() + delay > down_since + limit:
            return ConnectionLost(
                f"no connection for {limit:g} s, gave up; the last reason: {lost}"
            )
        return None

    async def _connect_once(self, on_live: Callable[[], None]) -> tuple[NetworkError, bool]:
        """Connect and live; return why it is over, and whether it had been live at all."""
        was_live = False
        try:
            async with self._link.connect() as endpoint:
                connection = self.connection = Connection(
                    endpoint, self, client=self._client, number=self.losses + 1
                )
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(endpoint.write_out)
                        nursery.start_soon(endpoint.heartbeat)
                        nursery.start_soon(self._read, connection, nursery.cancel_scope)
                        await self._roster.return_over(connection)
                        await self._requester.send_waiting(connection)
                        was_live = self._go_live(connection)
                        if was_live:
                            on_live()
                        else:
                            connection.close_soon()
                finally:
                    self._gone(connection)
        except NetworkError as error:
            return error, was_live
        assert connection.lost is not None
        return connection.closing or connection.lost, was_live

    async def _read(self, connection: Connection, scope: trio.CancelScope) -> None:
        try:
            await connection.read()
        except NetworkError as error:
            connection.fail(error)
        scope.cancel()

    def _go_live(self, connection: Connection) -> bool:
        if self.leaving or connection.lost is not None or connection.closing is not None:
            return False
        self._requester.connection = connection
        self._board.set(ClientState.LIVE)
        return True

    def _gone(self, connection: Connection) -> None:
        connection.fail(ConnectionLost("the connection was given up"))
        self.connection = self._requester.connection = None
        self._roster.gone(connection)
        # Not only once it has been closed in all form, which can take a while.
        self._reconnecting(connection.closing or connection.lost)

    def _reconnecting(self, reason: NetworkError | None) -> None:
        if self._reconnect is None or self.leaving:
            return
        if self._board.state is ClientState.LIVE:
            self._board.set(ClientState.RECONNECTING, reason)

    # What a connection brings (`FrameSink`)

    def on_response(self, frame: ResponseFrame) -> None:
        """Hand an answer to whoever asked."""
        if frame.error_code == HubClosing.code and self._reconnect is not None:
            # Not done, and not refused either: it is asked again over the next connection.
            self._requester.calls.put_back(frame.request_id)
            if self.connection is not None:
                self._hub_is_closing(
                    self.connection,
                    HubClosing(frame.error_message, retry_after_seconds=frame.retry_after_seconds),
                )
        elif not self._requester.answer(frame):
            _log.debug("an answer that nobody waits for", request_id=frame.request_id)

    def on_notify(self, frame: NotifyFrame) -> None:
        """Hand an envelope to the identity that it is for."""
        self._roster.deliver(frame)

    def on_error(self, connection: Connection, frame: ErrorFrame) -> None:
        """Hear what the hub has to say without being asked."""
        error = error_from_code(
            frame.code, frame.message, retry_after_seconds=frame.retry_after_seconds
        )
        if isinstance(error, TakenOver):
            self._roster.taken_over(frame.name, error)
        elif isinstance(error, HubClosing):
            self._hub_is_closing(connection, error)
        else:
            if isinstance(error, AuthError) and frame.name:
                self._roster.credential_ended(connection, frame.name)
            _log.warning("the hub complains", code=frame.code, message=frame.message)

    def _hub_is_closing(self, connection: Connection, error: HubClosing) -> None:
        if connection.closing is None:
            connection.closing = error
            self._requester.connection = None
            self._reconnecting(error)
            self._nursery.start_soon(self._close_in_a_while, connection)

    async def _close_in_a_while(self, connection: Connection) -> None:
        # The hub answers what it still can, and closes. Should it not, we do.
        await trio.sleep(_FAREWELL_SECONDS_MAX)
        connection.close_soon()


def _nothing() -> None:
    """For the second time that something would be said once."""
