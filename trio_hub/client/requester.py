"""
Asking the hub, over whatever connection there is.

A request is sent at once when the connection is live, and otherwise waits in the outbox
(`Calls`) for the next one. Its caller sees an answer, an error, or its own deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import trio

from ..errors import TooLarge
from ..wire.codec import encode_request
from ..wire.frames import Dialect, ResponseFrame
from ..wire.validation import decode_strictly
from .calls import WAITS_FOR_OTHERS, Call, Calls
from .connection import Connection
from .places import take_place
from .state_board import StateBoard

__all__ = ["Requester"]

_HINTS: Final = {"create_channel": "list_channels shows whether the channel is there"}


class Requester:
    """
    The requests of one client.

    Args:
        board: Tells whether there is any point in waiting.
        request_timeout: Seconds for most operations.
        open_timeout: Seconds for those that wait for other agents.
        waiting_max: How many may be unanswered.

    Attributes:
        connection: The live one; None while there is none.
    """

    def __init__(
        self, board: StateBoard, *, request_timeout: float, open_timeout: float, waiting_max: int
    ) -> None:
        self.connection: Connection | None = None
        self.calls = Calls(waiting_max)
        self._board = board
        self._request_timeout = request_timeout
        self._open_timeout = open_timeout
        self._count = 0

    async def request(
        self,
        op: str,
        params: object,
        result: Any,
        *,
        timeout: float | None = None,
        hint: str = "",
        on_result: Callable[[ResponseFrame], None] | None = None,
    ) -> Any:
        """See `HubClient.request`."""
        if timeout is None:
            timeout = self._open_timeout if op in WAITS_FOR_OTHERS else self._request_timeout
        self._count += 1
        request_id = f"{self._count:x}"
        call = Call(
            request_id=request_id,
            op=op,
            frame=encode_request(request_id, op, params),
            hint=hint or _HINTS.get(op, ""),
            on_result=on_result,
            names_task=getattr(params, "task_id", None) is not None,
        )
        with trio.move_on_after(timeout):
            await self._carry_out(call)
        if not call.answered.is_set():
            raise trio.TooSlowError(
                f"the hub did not answer {op} within {timeout:g} s (the connection is "
                f"{self._board.state}): {call.what_is_known}"
            )
        if call.error is not None:
            raise call.error
        return decode_strictly(call.result, result, f"answer to {op}")

    async def _carry_out(self, call: Call) -> None:
        places = self.calls.place_for(call.op)
        await take_place(places)
        try:
            if self.connection is not None:
                await self.connection.wait_for_room()
            if self._board.closed:
                raise self._board.why_closed()
            self.calls.add(call)
            if self.connection is not None:
                self._send(call, self.connection)
            await call.answered.wait()
        finally:
            self.calls.discard(call)
            places.release()

    async def send_waiting(self, connection: Connection) -> None:
        """
        Send over a new connection what has no answer yet, or return early if that is lost.

        Cancellation: some may have been sent.
        """
        # Again until there is none: while waiting for room, others may have come.
        while waiting := self.calls.to_send_over(connection):
            for call in waiting:
                await connection.wait_for_room()
                if connection.lost is not None:
                    return
                if not call.answered.is_set():
                    self._send(call, connection)

    def answer(self, frame: ResponseFrame) -> bool:
        """Hand an answer to whoever asked; False where nobody waits for it (any more)."""
        return self.calls.answer(frame)

    def _send(self, call: Call, connection: Connection) -> None:
        if connection.lost is not None:
            return
        if len(call.frame) > connection.frame_bytes_max:
            call.fail(
                TooLarge(
                    f"{call.op} takes {len(call.frame)} bytes and "
                    f"{connection.frame_bytes_max} is the limit; send less at once"
                )
            )
            return
        call.sent_count += 1
        call.sent_over = connection
        call.sent_to_plain_hub |= connection.dialect is Dialect.PLAIN
        connection.send_encoded(call.frame)
