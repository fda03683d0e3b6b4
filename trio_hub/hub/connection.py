"""
One connection, from its first message to its last.

The nursery in `Connection.run` owns everything that lives for the connection's sake: the
endpoint's writer and heartbeat, and a task for each request that has to wait for something. The
read loop is the nursery's body. When the peer is gone, the loop ends, the nursery is cancelled,
and the identities that were bound here are free for the next connection.

Most requests never become a task: they are answered where they are read, or (posts) by the
committer when the envelope is durable.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Mapping
from typing import Any

import trio

from .._logging import get_logger
from ..errors import (
    AccessDeniedError,
    AuthError,
    ConnectionLost,
    FrameError,
    NetworkError,
    NotFoundError,
    ProtocolError,
    StoreError,
    TakenOver,
    TooLarge,
)
from ..links import LinkEndpoint
from ..protocol.inbox import Delivery
from ..protocol.limits import TokenBucket
from ..wire.codec import encode_frame, encode_notify, encode_result, iter_frames
from ..wire.frames import (
    Dialect,
    ErrorFrame,
    Frame,
    HelloFrame,
    PingFrame,
    PongFrame,
    ReceiptFrame,
    RequestFrame,
    ResponseFrame,
)
from ..wire.operations import LONG_ANSWERS, OPERATIONS, Operation
from ..wire.validation import decode_strictly, encode
from .answers import RawJson, in_turns
from .committer import Ticket
from .connection_host import ConnectionHost
from .doorbell import Doorbell

__all__ = ["Connection"]

log = get_logger(__name__)

_PONG = PongFrame()

# A large message can hold a million frames; others get their turn after so many of them.
_FRAMES_AT_ONCE = 64
# What a peer calls its requests is not always short.
_LOGGED_MAX = 100
# RFC 6455's registry of close codes: "Policy Violation".
_POLICY_VIOLATION = 1008


class Connection:
    """
    A peer, and the identities that it acts for.

    Args:
        host: The hub.
        endpoint: The hub's end of the link.

    Attributes:
        bound: The ids of the agents that this connection acts for.
        named: The names that it asked about while it acted for nobody; see `Doorstep`.
        client: Which client of its own kind it is of, and which of that one's connections.
    """

    def __init__(self, host: ConnectionHost, endpoint: LinkEndpoint) -> None:
        self._host = host
        self.endpoint = endpoint
        self.bound: dict[str, str] = {}
        self.named: set[str] = set()
        self.client = ("", 0)
        self._nursery: trio.Nursery | None = None
        self._greeting = trio.CancelScope()
        self._unanswered = self._unanswered_bytes = 0
        self._answered = Doorbell()
        # As many long answers as the outbox takes past its high mark are worked out at once.
        limits = endpoint.limits
        past_the_mark = limits.outbox_hard_bytes - limits.outbox_high_bytes
        self._answering = trio.Semaphore(past_the_mark // limits.hub_message_bytes_max)
        # Requests that wait for something, and the agent that each is about, where it is about one.
        self._begun: dict[trio.CancelScope, str | None] = {}
        self._patience = TokenBucket()
        self._dismissed = False
        self._log = log.bind(connection_id=endpoint.endpoint_id, peer=endpoint.peer)

    @property
    def connection_id(self) -> str:
        """What the connection is called in logs and in its welcome."""
        return self.endpoint.endpoint_id

    def claim_of(self, claim: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a claim; where it is empty, the token that came with the connection."""
        bearer = self.endpoint.facts.bearer
        return claim if claim or not bearer else {"token": bearer}

    async def run(self) -> None:
        """
        Talk with the peer until either side is done.

        Cancellation: the connection ends at once, as if the link had been cut.
        """
        endpoint = self.endpoint
        self._log.debug("connection opened", dialect=str(endpoint.dialect))
        endpoint.outbox.on_drained = self._on_drained
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._write_out)
                nursery.start_soon(endpoint.heartbeat)
                try:
                    await self._read()
                except ConnectionLost as error:
                    self._log.debug("connection ended", reason=error.message)
                nursery.cancel_scope.cancel()
        finally:
            self._host.released(self)

    # Outwards

    @property
    def has_room(self) -> bool:
        """Whether the outbox should be given more deliveries."""
        return self.endpoint.outbox.has_room

    def deliver(self, agent_id: str, delivery: Delivery[bytes]) -> bool:
        """Send an envelope. False where it is larger than the peer takes."""
        endpoint = self.endpoint
        frame = encode_notify(delivery.payload, agent_id, delivery.attempt, endpoint.dialect)
        if len(frame) > endpoint.frame_bytes_max:
            return False
        endpoint.push_nowait(frame)
        return True

    def send(self, frame: Frame) -> None:
        """Send a frame."""
        self.endpoint.push_nowait(encode_frame(frame, self.endpoint.dialect))

    def send_error(self, error: NetworkError, *, name: str = "") -> None:
        """Tell the peer of an error that answers no request."""
        self.send(
            ErrorFrame(
                code=error.code,
                message=error.message,
                name=name,
                retry_after_seconds=error.retry_after_seconds,
            )
        )

    def take_away(self, agent_id: str) -> None:
        """Tell the peer that another connection acts for an identity from now on."""
        name = self.bound.pop(agent_id, None)
        if name is not None:
            self._log.info("identity taken over", agent=name, agent_id=agent_id)
            self.send_error(
                TakenOver(
                    f"another connection attached as {name!r}; this one no longer acts for it "
                    "and should not attach again by itself"
                ),
                name=name,
            )

    def lose(self, agent_id: str, error: NetworkError, reason: str) -> None:
        """
        Tell the peer that it does not act for an identity any more; close if it acts for nobody.

        Of its requests that are being carried out, those about that identity go no further.

        Args:
            error: What it is told.
            reason: The same in a few words.
        """
        name = self.bound.pop(agent_id)
        for scope, subject in self._begun.items():
            if subject == agent_id or not self.bound:
                scope.cancel()
        if not self.bound:
            self.dismiss(error, reason, name=name)
            return
        self._log.warning("identity let go", agent=name, agent_id=agent_id, reason=reason)
        self.send_error(error, name=name)

    def dismiss(self, error: NetworkError, reason: str, *, name: str = "") -> None:
        """
        Part with a peer: tell it why, take nothing more from it, and close.

        Args:
            error: What it is told.
            reason: The same in a few words, for its close frame and our log.
            name: The identity that it is about, if it is about one.
        """
        self._dismissed = True
        self._log.warning("connection dismissed", reason=reason)
        self._host.refused("connection", error)
        self.send_error(error, name=name)
        self.endpoint.close_soon(_POLICY_VIOLATION, reason)

    # Inwards

    async def _read(self) -> None:
        endpoint, outbox = self.endpoint, self.endpoint.outbox
        while True:
            try:
                message = await endpoint.receive()
            except TooLarge as error:
                self._host.refused("frame", error)
                self.send_error(error)
                continue
            if not self._dismissed:
                await self._take_frames(message)
            # A peer that asks faster than it reads the answers waits for itself.
            if not outbox.has_room:
                await outbox.wait_for_room()

    async def _take_frames(self, message: str | bytes) -> None:
        """Take the frames of a message, and let others have their turn where it has many."""
        receipts: list[ReceiptFrame] = []
        taken = 0
        for frame in iter_frames(message, self.endpoint.dialect):
            taken += 1
            # Nearly all are of these two.
            if type(frame) is ReceiptFrame:
                receipts.append(frame)
            else:
                if receipts:
                    self._take_receipts(receipts)
                if type(frame) is RequestFrame:
                    await self._take_request(frame)
                else:
                    await self._take(frame)
                    if isinstance(frame, FrameError):
                        # To find out what is wrong takes longer than to take a good one.
                        taken = _FRAMES_AT_ONCE
                if self._dismissed:
                    return
            if taken >= _FRAMES_AT_ONCE:
                taken = 0
                if receipts:
                    self._take_receipts(receipts)
                await trio.lowlevel.checkpoint()
                await self.endpoint.outbox.wait_for_room()
        if receipts:
            self._take_receipts(receipts)

    async def _take(self, frame: Frame | FrameError) -> None:
        match frame:
            case HelloFrame():
                await self._take_hello(frame)
            case PingFrame():
                self.send(_PONG)
            case PongFrame():
                pass
            case FrameError():
                self._log.info("malformed frame", problem=_without_quotations(frame.message))
                self._lose_patience()
                if frame.request_id is not None:
                    self._respond_error(frame.request_id, frame)
                else:
                    self._host.refused("frame", frame)
                    self.send_error(frame)
            case _:
                error = ProtocolError(f"a {frame.kind} frame goes from hub to client only")
                self._host.refused("frame", error)
                self.send_error(error)
                self._lose_patience()

    def _lose_patience(self) -> None:
        """Part with a peer that sends too much of what is no frame."""
        limit = self._host.malformed_frames_per_minute
        if self._patience.take(trio.current_time(), per_minute=limit) == 0.0:
            return
        self.dismiss(
            ProtocolError(
                f"more than {limit} malformed frames in a minute: this connection is closed; "
                "mend the client before it comes back"
            ),
            "too many malformed frames",
        )

    def _take_receipts(self, receipts: list[ReceiptFrame]) -> None:
        """Take receipts that came in a row, in one turn; the list is empty afterwards."""
        with self._host.turn:
            for frame in receipts:
                # A receipt for somebody else settles nothing, and is nobody's business.
                if frame.recipient_id in self.bound:
                    self._host.receipt(frame)
        receipts.clear()

    def comes_after(self, other: Connection) -> bool:
        """Whether the same client has opened this one after `other`."""
        client, number = self.client
        return bool(client) and client == other.client[0] and number > other.client[1]

    async def _write_out(self) -> None:
        await self.endpoint.write_out()
        # Nobody is there to be welcomed: what that still waits for is for those who are.
        self._greeting.cancel()

    async def _take_hello(self, frame: HelloFrame) -> None:
        self.client = (frame.client, frame.connection)
        greeting = None
        try:
            with trio.CancelScope() as self._greeting:
                greeting = await self._host.hello(self, frame)
        except NetworkError as error:
            if isinstance(error, AuthError):
                self._log.warning("authentication failed", agent=frame.name)
            self._host.refused("hello", error)
            self.send_error(error, name=frame.name)
            return
        if greeting is not None:
            self.send(greeting.welcome)
            self._host.begin_deliveries(self, greeting)

    async def _take_request(self, frame: RequestFrame) -> None:
        request_id = frame.request_id
        # The id is kept as long, and a character of it may take four bytes.
        host, size = self._host, len(frame.params) + 4 * len(request_id)
        while (
            self._unanswered >= host.requests_in_flight_max
            or self._unanswered_bytes >= host.request_bytes_in_flight_max
        ):
            await self._answered.answer()
        # One message may hold many requests, and each of them may have a long answer.
        if not self.endpoint.outbox.has_room:
            await self.endpoint.outbox.wait_for_room()
        try:
            operation = OPERATIONS.get(frame.op)
            if operation is None:
                raise ProtocolError(f"unknown operation {frame.op[:60]!r}")
            params = decode_strictly(frame.params, operation.params, operation.params_name)
            host.authorize(self, operation, params)
            if operation.name == "post_envelope":
                envelope_id, ticket = await host.post(self, params)
                if ticket is None:
                    self._respond(request_id, envelope_id)
                else:
                    self._respond_when_settled(request_id, envelope_id, ticket, size)
                return
            result = in_turns(host.handlers[operation.name](self, params))
            if inspect.isawaitable(result):
                assert self._nursery is not None
                self._count_unanswered(size)
                scope = trio.CancelScope()
                self._begun[scope] = operation.subject(params)
                self._nursery.start_soon(self._finish, request_id, operation, result, scope, size)
                return
            self._respond(request_id, result)
        except FrameError as error:
            self._respond_error(request_id, error)
            await trio.lowlevel.checkpoint()  # As for a malformed frame.
        except NetworkError as error:
            self._respond_error(request_id, error)
        except Exception:
            self._respond_failure(request_id, frame.op)

    def _respond_when_settled(
        self, request_id: str, envelope_id: str, ticket: Ticket, size: int
    ) -> None:
        self._count_unanswered(size)

        def settled(error: StoreError | None) -> None:
            self._count_answer(size)
            if error is None:
                self._respond(request_id, envelope_id)
            else:
                self._respond_error(request_id, error)

        ticket.when_settled(settled)

    async def _finish(
        self,
        request_id: str,
        operation: Operation,
        result: Awaitable[Any],
        scope: trio.CancelScope,
        size: int,
    ) -> None:
        """Wait for what an operation waits for, and answer."""
        try:
            answer = await self._carried_out(operation, result, scope)
            is_new = operation.name == "register"
            if not is_new:
                # One after another, as they are taken: many that end together are no slow peer's.
                # But whoever is new hears of it before it is sent anything.
                await self.endpoint.outbox.wait_for_room()
            # Whoever has come in by a hello was told; a plain peer would not know the word.
            says_epoch = is_new and self.endpoint.dialect is Dialect.BATCHED
            self._respond(request_id, answer, epoch=self._host.epoch if says_epoch else "")
        except NetworkError as error:
            self._respond_error(request_id, error)
        except Exception:
            self._respond_failure(request_id, operation.name)
        finally:
            del self._begun[scope]
            self._count_answer(size)

    async def _carried_out(
        self, operation: Operation, result: Awaitable[Any], scope: trio.CancelScope
    ) -> Any:
        is_begun = False
        try:
            with scope:
                if operation.name in LONG_ANSWERS:
                    async with self._answering:
                        # The peer takes first what it has asked for before.
                        await self.endpoint.outbox.wait_for_room()
                        is_begun = True
                        answer = await _whole(result)
                        await self.endpoint.outbox.wait_for_room()
                        return answer
                is_begun = not scope.cancel_called
                if is_begun:
                    return await _whole(result)
        finally:
            if inspect.iscoroutine(result):
                result.close()  # It may not have been begun.
        outcome = "whether it was carried out is unknown" if is_begun else "it was not begun"
        raise AuthError(f"{operation.name}: this connection was let go meanwhile, and {outcome}")

    def _count_unanswered(self, size: int) -> None:
        self._unanswered += 1
        self._unanswered_bytes += size

    def _count_answer(self, size: int) -> None:
        self._unanswered -= 1
        self._unanswered_bytes -= size
        self._answered.ring()

    def _respond(self, request_id: str, result: Any, *, epoch: str = "") -> None:
        data = result.data if isinstance(result, RawJson) else encode(result)
        frame = encode_result(request_id, data, epoch=epoch)
        limit = self.endpoint.frame_bytes_max
        if len(frame) > limit:
            self._respond_error(
                request_id,
                TooLarge(
                    f"the answer has {len(frame)} bytes, and this connection takes {limit}: ask "
                    "for less (read_wal: since and until; lists: limit)"
                ),
            )
            return
        self.endpoint.push_nowait(frame)

    def _respond_error(self, request_id: str, error: NetworkError) -> None:
        self._host.refused("request", error)
        if isinstance(error, AccessDeniedError | NotFoundError | ProtocolError):
            self._log.debug("request refused", code=error.code, request_id=request_id[:_LOGGED_MAX])
        self.send(
            ResponseFrame(
                request_id=request_id,
                ok=False,
                error_code=error.code,
                error_message=error.message,
                retry_after_seconds=error.retry_after_seconds,
            )
        )

    def _respond_failure(self, request_id: str, op: str) -> None:
        """Let a bug of ours cost one request: the log has the whole story, the peer has an id."""
        self._log.exception("operation failed", op=op, request_id=request_id)
        self._respond_error(
            request_id, NetworkError(f"{op} failed inside the hub (request {request_id!r})")
        )

    def _on_drained(self) -> None:
        self._host.room_again(self)


async def _whole(result: Awaitable[Any]) -> Any:
    """Wait for a result, and until it is encoded where that takes long."""
    answer = in_turns(await result)
    return await answer if inspect.isawaitable(answer) else answer


def _without_quotations(problem: str) -> str:
    """Cut a problem before the first thing that is quoted: it may be a text, or a credential."""
    return problem.partition("'")[0].partition('"')[0][:_LOGGED_MAX].rstrip()
