"""
A message stream over the sans-I/O protocol of `websockets`, pumped by whoever reads.

There is no task behind it. `receive_message` reads from the socket, feeds the protocol, and keeps
what came beyond the first message for its next calls. `send_messages` feeds all its messages and
sends the bytes in one piece.

The reader never sends: it can be cancelled at any time, and it must not wait for a peer that does
not read. What it has to answer (a pong, the echo of a close frame) is sent by a task of the
connection's nursery, started for it; that is rare.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress

import trio
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import SEND_EOF, Protocol, Side, State

from ..errors import ConnectionLost
from ..wire.frames import Dialect
from ._byte_sender import ByteSender
from ._last_words import broken_how, last_words
from ._let_go import let_go
from ._server_frames import TEXT, server_frame_head
from ._tls import receiver_of
from ._whole_texts import WholeTexts
from .limits import RECEIVE_BUFFER_BYTES

__all__ = ["WAITING_ANSWERS_MAX", "SansIoStream"]

# Messages that are returned without giving way to other tasks: a peer's flood of small messages
# costs others no more than this many at a time.
_IN_A_ROW_MAX = 32

#: Answers to pings that wait to be sent (with the faster transport); past it nothing more is read
#: until the peer reads: one that asks without listening waits for itself.
WAITING_ANSWERS_MAX = 256

#: How long a peer that closed, or broke the WebSocket, may take to hear our answer.
_PARTING_SECONDS = 1.0

_REASON_BYTES_MAX = 123  # A control frame has room for 125, and the code takes two.


class SansIoStream:
    """
    A `MessageStream` over a WebSocket.

    Args:
        protocol: After the handshake.
        raw: The byte stream; owned from now on.
        nursery: Where answers and pings are sent from.
        early: What arrived together with the end of the handshake.
    """

    def __init__(
        self,
        protocol: Protocol,
        raw: trio.abc.Stream,
        nursery: trio.Nursery,
        *,
        dialect: Dialect,
        peer: str,
        early: bytes = b"",
    ) -> None:
        self._protocol = protocol
        self._raw = raw
        self._receive = receiver_of(raw)
        self._nursery = nursery
        self._dialect = dialect
        self._peer = peer
        self._inbox: deque[str | bytes] = deque()
        self._in_a_row = 0
        self._fragments: list[bytes] = []
        self._fragments_are_text = False
        self._reading = False
        self._read_finished: trio.Event | None = None
        self._hears_nobody = False
        self._arrivals = 0
        self._arrivals_seen = 0
        self._arrived: trio.Event | None = None
        self._serves = protocol.side is Side.SERVER
        self._whole_texts = WholeTexts(masked=self._serves)
        self._sender = ByteSender(raw)
        self._answering = False
        # Why nothing more will be received.
        self._over: str | None = None
        self._at_eof = False
        self._broken_by_peer = False
        self._closed_by_us: str | None = None
        self._close_finished = trio.Event()
        self._take(early)

    @property
    def dialect(self) -> Dialect:
        """The dialect that both sides agreed upon."""
        return self._dialect

    @property
    def peer(self) -> str:
        """Address and port of the other end."""
        return self._peer

    async def send_messages(self, messages: Sequence[bytes]) -> None:
        """See `MessageStream.send_messages`."""
        self._feed(messages)
        try:
            await self._sender.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._lost() from None

    def send_nowait(self, messages: Sequence[bytes]) -> bool:
        """See `EagerStream.send_nowait`."""
        self._feed(messages)
        try:
            return self._sender.flush_nowait()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._lost() from None

    async def receive_message(self) -> str | bytes:
        """See `MessageStream.receive_message`."""
        while not self._inbox:
            if self._over is not None:
                # The owner leaves as soon as it hears of the end, and takes with it the task
                # that is just telling the peer why. Let it finish (its time is bounded).
                if self._closed_by_us is not None:
                    await self._close_finished.wait()
                else:
                    await self._part()
                raise self._lost()
            if self._answering:
                await self._wait_for_answers()
            await self._read_some()
        if self._in_a_row >= _IN_A_ROW_MAX:
            await trio.lowlevel.checkpoint()
            self._in_a_row = 0
        self._in_a_row += 1
        return self._inbox.popleft()

    async def ping(self) -> None:
        """
        Return once the peer has shown that it is alive: by anything that arrived from it.

        A pong stands in line behind a large message that the peer is still sending; so every
        byte counts, and only a peer that was silent since the last call is asked.

        Cancellation: harmless.
        """
        if self._arrivals != self._arrivals_seen:
            self._arrivals_seen = self._arrivals
            return
        if self._protocol.state is not State.OPEN:
            raise self._lost()
        if not self._answering:
            self._protocol.send_ping(b"")
            self._answer(self._protocol.data_to_send())
        if self._arrived is None:
            self._arrived = trio.Event()
        await self._arrived.wait()
        self._arrivals_seen = self._arrivals

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """
        Close with the handshake that WebSocket asks for; idempotent.

        Cancellation: the socket is closed without waiting for the peer.
        """
        if self._closed_by_us is not None:
            await self._close_finished.wait()
            return
        self._closed_by_us = f"closed by this side: {code} {reason}".rstrip()
        try:
            await self._say_goodbye(code, reason)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # Nobody is there to hear it.
        finally:
            self._end(self._closed_by_us)
            try:
                await self._raw.aclose()
            except trio.BrokenResourceError:
                pass  # The TLS goodbye found nobody. The socket is closed all the same.
            finally:
                let_go(self._protocol)
                self._close_finished.set()

    # In

    async def _wait_for_answers(self) -> None:
        """Read on only when what the peer has asked for before is on its way."""
        while self._answering and len(self._sender) > WAITING_ANSWERS_MAX:
            await self._sender.wait_turn_over()

    async def _read_some(self) -> None:
        """
        Read what is there, and take it in. One task reads; another waits until it has.

        Cancellation: nothing is lost.
        """
        if self._reading:
            if self._read_finished is None:
                self._read_finished = trio.Event()
            await self._read_finished.wait()
            return
        self._reading = True
        try:
            data = await self._receive(RECEIVE_BUFFER_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        finally:
            self._reading = False
            if self._read_finished is not None:
                self._read_finished.set()
                self._read_finished = None
        if not data:
            self._at_eof = True
            self._protocol.receive_eof()
            self._end("the connection broke: it ended without a closing handshake")
            return
        self._arrivals += 1
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None
        self._take(bytes(data))

    def _take(self, data: bytes) -> None:
        self._in_a_row = 0
        for piece in self._whole_texts.split(data):
            if type(piece) is bytes:
                self._protocol.receive_data(piece)
                self._take_events(self._protocol.events_received())
            elif self._over is None and not self._hears_nobody:
                self._inbox.append(piece)

    def _take_events(self, events: Iterable[Frame | Request | Response]) -> None:
        protocol = self._protocol
        try:
            for event in events:
                if not isinstance(event, Frame):
                    continue
                if event.opcode is Opcode.TEXT and event.fin:
                    self._deliver(str(event.data, "utf-8"))
                elif event.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                    self._take_fragment(event)
        except UnicodeDecodeError as error:
            protocol.fail(CloseCode.INVALID_DATA, f"{error.reason} at position {error.start}")
            self._broken_by_peer = True
        answers = protocol.data_to_send()
        if protocol.state is not State.OPEN and self._over is None:
            self._note_end(answers)
        if answers:
            self._answer(answers)

    def _deliver(self, message: str | bytes) -> None:
        if not self._hears_nobody:
            self._inbox.append(message)

    def _take_fragment(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._fragments_are_text = frame.opcode is Opcode.TEXT
        if frame.data:  # Empty ones count for nothing in the library's limit.
            self._fragments.append(bytes(frame.data))
        if not frame.fin:
            return
        whole = b"".join(self._fragments)
        self._fragments.clear()
        self._deliver(whole.decode() if self._fragments_are_text else whole)

    def _note_end(self, answers: list[bytes]) -> None:
        """See how it ended, if it did; where the peer broke it, say more than the library does."""
        protocol = self._protocol
        if self._broken_by_peer or protocol.parser_exc is not None:
            self._broken_by_peer = True
            close = protocol.close_sent
            assert close is not None
            how = broken_how(close.code)
            self._end(
                f"closed by this side: what the peer sent was {how or 'refused'}: {close.reason}"
            )
            if how is not None and self._closed_by_us is None and self._serves:
                while answers.pop() == SEND_EOF:
                    pass  # The close frame stands before it; ours takes its place.
                answers.append(last_words(close.code, close.reason, self._dialect))
        elif protocol.close_rcvd is not None:
            self._end(_describe(protocol.close_rcvd.code, protocol.close_rcvd.reason))

    def _end(self, reason: str) -> None:
        if self._over is None:
            self._over = reason

    def _lost(self) -> ConnectionLost:
        return ConnectionLost(
            self._closed_by_us or self._over or "the connection broke while it was written to"
        )

    # Out

    def _feed(self, messages: Sequence[bytes]) -> None:
        # All that ends it, at either side, is in these two.
        if self._over is not None or self._closed_by_us is not None:
            raise self._lost()
        if self._serves:
            for message in messages:
                self._sender.put((server_frame_head(TEXT, len(message)), message))
            return
        protocol = self._protocol
        for message in messages:
            protocol.send_text(message)
        self._sender.put(protocol.data_to_send())

    def _answer(self, answers: list[bytes]) -> None:
        """Have something sent that nobody waits for."""
        self._sender.put(answers)
        if not self._answering:
            self._answering = True
            self._nursery.start_soon(self._send_answers)

    async def _send_answers(self) -> None:
        try:
            await self._sender.flush()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # The read loop hears of it too, and says so.
        finally:
            self._answering = False
            self._sender.end_turn()

    # The end

    async def _say_goodbye(self, code: int, reason: str) -> None:
        if self._sender.torn:
            return
        if self._over is not None:
            await self._part()
            return
        self._protocol.send_close(code, _shortened(reason))
        self._sender.put(self._protocol.data_to_send())
        await self._sender.flush()
        while self._over is None:
            # Where it is not the owner who reads, nobody will ask for what comes.
            self._hears_nobody = not self._reading
            await self._read_some()

    async def _part(self) -> None:
        """
        Let the peer that ended it have what it is still owed: its close frame back, or the reason.

        Cancellation: harmless.
        """
        with trio.move_on_after(_PARTING_SECONDS):
            while self._answering:
                await self._sender.wait_turn_over()
            if not self._broken_by_peer or self._at_eof:
                return
            if isinstance(self._raw, trio.abc.HalfCloseableStream):
                await self._raw.send_eof()
            # To close while more is coming would reset the connection, and take from the peer
            # what it has not read yet.
            while not self._at_eof:
                await self._read_some()


def _describe(code: int, reason: str) -> str:
    text = f"closed by the peer: {code}"
    with suppress(ValueError):  # A code of the application's own has no name.
        text += f" {CloseCode(code).name.lower().replace('_', ' ')}"
    return f"{text}: {reason}" if reason else text


def _shortened(reason: str) -> str:
    return reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
