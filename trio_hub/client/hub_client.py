"""
The client of a hub: one connection that comes back by itself, and all identities on it.

The life of a `HubClient` is its ``async with`` block. One task keeps the connection: it connects,
binds every identity by a hello, sends what was asked and not answered yet, and reads until the
link is gone; then it begins again. Requests do not notice, but for the time it takes.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs
import msgspec
import structlog
import trio

from ..errors import (
    ConnectionLost,
    HubClosing,
    NetworkError,
    NotFoundError,
    ProtocolError,
    TakenOver,
    TooLarge,
    error_from_code,
)
from ..records import AuthBlock, Envelope, Passport, Resume, Rule, without_claim
from ..wire import params as p
from ..wire.codec import encode_frame
from ..wire.frames import Dialect, ErrorFrame, NotifyFrame, RequestFrame, ResponseFrame
from ..wire.validation import decode_strictly, encode
from .agent_client import AgentClient
from .agents import Agent, AgentFunction, as_agent
from .calls import WAITS_FOR_OTHERS, Call, Calls
from .connection import Connection
from .deliveries import Deliveries
from .handlers import Handler, default_handler
from .human_client import HumanClient
from .identity import Identity, Since
from .operations import HubOperations
from .states import ClientState, IdentityChange, Observer, Reconnect, StateChange

if TYPE_CHECKING:
    from ..links.base import Link

__all__ = ["HubClient"]

_log = structlog.get_logger("trio_hub.client")

_RNG = random.Random()  # noqa: S311  jitter is no secret

# Hellos sent before the first is answered: enough to hide the round trip.
_HELLOS_AT_ONCE = 64
# How long a hub that said it is closing may take to answer what it still can.
_FAREWELL_SECONDS_MAX = 10.0
_CLOSE_SECONDS_MAX = 2.0
_HINTS = {
    "post_envelope": "post it again under the same idempotency key to find out",
    "create_channel": "list_channels shows whether the channel is there",
}


class HubClient(HubOperations):
    """
    One connection to one hub, for any number of agents.

    Use it as an async context manager; entering returns once the hub has been reached::

        async with HubClient(WsLink("ws://127.0.0.1:8765")) as hub_client:
            alice = await hub_client.register(agent, Passport(name="alice"))

    Args:
        link: How to reach the hub: `WsLink` or `LocalLink`.
        reconnect: How to come back when the connection is lost; None is not at all: then
            everything that waits raises `ConnectionLost` and the client is closed.
        request_timeout: Seconds that a request may take, waiting for the connection included,
            before it raises `trio.TooSlowError`.
        open_timeout: The same for `create_channel`, which waits for other agents.
        max_waiting_requests: How many requests may be unanswered; further ones wait their turn.
        max_in_flight: How many envelopes may wait for the handler of one agent.
        max_handlers: How many channels of one agent are handled at the same time.
        progress_interval_seconds: How often the hub is told that a handler still works on an
            envelope, so that it is not handed out again. It must be well below the hub's
            ``ack_wait`` (30 min).
        handler_patience_seconds: After so long the hub is told no more: the handler hangs.

    Raises:
        ConnectionLost: From entering, where the hub cannot be reached.

    Leaving the block gives running handlers up: what they did not finish is redelivered.
    """

    def __init__(
        self,
        link: Link,
        *,
        reconnect: Reconnect | None = Reconnect(),  # noqa: B008  frozen
        request_timeout: float = 30.0,
        open_timeout: float = 90.0,
        max_waiting_requests: int = 1024,
        max_in_flight: int = 1024,
        max_handlers: int = 64,
        progress_interval_seconds: float = 60.0,
        handler_patience_seconds: float = 6 * 3600.0,
    ) -> None:
        super().__init__()
        self._link = link
        self._reconnect = reconnect
        self._request_timeout = request_timeout
        self._open_timeout = open_timeout
        self._max_in_flight = max_in_flight
        self._max_handlers = max_handlers
        self._progress_interval_seconds = progress_interval_seconds
        self._handler_patience_seconds = handler_patience_seconds
        self._calls = Calls(max_waiting_requests)
        self._request_count = 0
        self._state = ClientState.CONNECTING
        self._state_changed = trio.Event()
        self._closed_because: NetworkError | None = None
        self._leaving = False
        self._losses = 0
        # From its first frame to its last; requests go over it only while it is live.
        self._connecting: Connection | None = None
        self._connection: Connection | None = None
        self._identities: dict[str, Identity] = {}
        self._observers: dict[int, Observer] = {}
        self._observer_count = 0
        self._nursery: trio.Nursery | None = None
        self._nursery_manager: Any = None

    def __repr__(self) -> str:
        names = ", ".join(sorted(one.name for one in self._identities.values())[:5])
        return f"<HubClient {self._state} over {self._link!r}: {names or 'nobody'}>"

    # Its life

    async def __aenter__(self) -> Self:
        if self._nursery_manager is not None:
            raise RuntimeError("a HubClient is entered once; make another one")
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        try:
            await self._nursery.start(self._keep_connected)
        except BaseException:
            await self._leave()
            raise
        self._nursery.start_soon(self._tell_progress)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None:
                await self.close()
        finally:
            await self._leave()

    async def open(self) -> Self:
        """
        Wait until the connection is live. For those who come from AG2: the connection belongs
        to the ``async with`` block, so outside of it this raises `RuntimeError`.

        Raises:
            ConnectionLost: The client is closed.
        """
        if self._nursery is None:
            raise RuntimeError(
                "a HubClient lives in a block: write `async with HubClient(link) as hub_client:`"
            )
        await self.wait_state(ClientState.LIVE)
        return self

    async def close(self) -> None:
        """
        Write out what waits to be written, and close the connection. Idempotent.

        The hub keeps the identities; `attach` brings them back. What waits raises
        `ConnectionLost`.

        Cancellation: the connection is closed without ceremony by leaving the block.
        """
        self._leaving = True
        if self._connecting is not None:
            self._connecting.close_soon()
            with trio.move_on_after(_CLOSE_SECONDS_MAX):
                await self.wait_state(ClientState.CLOSED)
        self._close(ConnectionLost("this client was closed"))

    async def _leave(self) -> None:
        self._leaving = True
        assert self._nursery is not None
        self._close(ConnectionLost("this client was closed"))
        self._nursery.cancel_scope.cancel()
        try:
            # What the block raised is not the nursery's: it leaves as it is, in no group.
            await self._nursery_manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise

    # States

    @property
    def state(self) -> ClientState:
        """Where the connection stands."""
        return self._state

    @property
    def waiting_requests(self) -> int:
        """How many requests have no answer yet."""
        return len(self._calls)

    async def wait_state(self, *states: ClientState) -> ClientState:
        """
        Return once the connection is in one of `states`, and in which.

        Raises:
            ConnectionLost: The client is closed, and that was not waited for.
        """
        while self._state not in states:
            if self._state is ClientState.CLOSED:
                raise self._why_closed()
            await self._state_changed.wait()
        return self._state

    @contextmanager
    def observed_by(self, observer: Observer) -> Iterator[None]:
        """
        Tell `observer` of every `StateChange` and `IdentityChange` while the block lasts.

        It is called from inside the client, so it must not block or raise; put what it hears
        into a memory channel to work on it.
        """
        number = self._observer_count
        self._observer_count += 1
        self._observers[number] = observer
        try:
            yield
        finally:
            del self._observers[number]

    def _set_state(self, state: ClientState, reason: NetworkError | None = None) -> None:
        if state is self._state or self._state is ClientState.CLOSED:
            return
        self._state = state
        self._state_changed.set()
        self._state_changed = trio.Event()
        _log.info("connection", state=str(state), reason=None if reason is None else str(reason))
        self._tell(StateChange(state, reason))

    def _tell(self, change: StateChange | IdentityChange) -> None:
        for observer in list(self._observers.values()):
            observer(change)

    def _close(self, error: NetworkError) -> None:
        if self._state is ClientState.CLOSED:
            return
        self._closed_because = error
        self._connection = None
        self._set_state(ClientState.CLOSED, error)
        self._calls.fail_all(str(error))
        for identity in list(self._identities.values()):
            identity.detach(ConnectionLost(str(error)))

    def _why_closed(self) -> NetworkError:
        return ConnectionLost(f"the client is closed: {self._closed_because}")

    # Requests

    async def request(
        self,
        op: str,
        params: object,
        result: Any,
        *,
        timeout: float | None = None,
        hint: str = "",
        on_result: Callable[[msgspec.Raw], None] | None = None,
    ) -> Any:
        """
        Ask the hub to do `op`, and decode the answer.

        Args:
            params: The attrs class of that operation in `trio_hub.wire.params`.
            result: The type of the answer.
            timeout: Seconds; None is the client's own.

        Raises:
            NetworkError: What the hub answered.
            trio.TooSlowError: No answer in time. Whether it was done is unknown.
            ConnectionLost: The client closed (or the operation must not be repeated) before the
                answer came; the message says what is known.
            TooLarge: The request is over the limit of the link; nothing was sent.

        Cancellation: the request may or may not be carried out; its answer is passed over.
        """
        if timeout is None:
            timeout = self._open_timeout if op in WAITS_FOR_OTHERS else self._request_timeout
        self._request_count += 1
        request_id = f"{self._request_count:x}"
        frame = RequestFrame(request_id=request_id, op=op, params=msgspec.Raw(encode(params)))
        call = Call(
            request_id=request_id,
            op=op,
            frame=encode_frame(frame, Dialect.PLAIN),
            hint=hint or _HINTS.get(op, ""),
            on_result=on_result,
        )
        with trio.move_on_after(timeout):
            await self._carry_out(call)
        if not call.answered.is_set():
            raise trio.TooSlowError(
                f"the hub did not answer {op} within {timeout:g} s "
                f"(the connection is {self._state}); "
                + (call.hint or "whether it was carried out is unknown")
            )
        if call.error is not None:
            raise call.error
        return decode_strictly(call.result, result, f"answer to {op}")

    async def _carry_out(self, call: Call) -> None:
        async with self._calls.place_for(call.op):
            if self._connection is not None:
                await self._connection.wait_for_room()
            if self._state is ClientState.CLOSED:
                raise self._why_closed()
            self._calls.add(call)
            try:
                if self._connection is not None:
                    self._send(call, self._connection)
                await call.answered.wait()
            finally:
                self._calls.discard(call)

    def _send(self, call: Call, connection: Connection) -> None:
        if len(call.frame) > connection.frame_bytes_max:
            call.fail(
                TooLarge(
                    f"{call.op} takes {len(call.frame)} bytes and "
                    f"{connection.frame_bytes_max} is the limit; send less at once"
                )
            )
            return
        if connection.lost is not None:
            return
        call.sent_count += 1
        call.sent_over = connection
        connection.send_encoded(call.frame)

    async def post_envelope(self, envelope: Envelope) -> str:
        """
        Post an envelope of an agent that is attached here, and return its id.

        Without an idempotency key it is given one, so that sending it again after the
        connection was lost posts it once.

        Durability: when this returns, the envelope is on the hub's disk.

        Cancellation: it may or may not be posted; posting it again under the same key tells.
        """
        if envelope.idempotency_key is None:
            envelope = attrs.evolve(envelope, idempotency_key=uuid.uuid4().hex)
        hint = f"post it again under the idempotency key {envelope.idempotency_key!r} to find out"
        envelope_id: str = await self.request(
            "post_envelope", p.PostEnvelope(envelope=envelope), str, hint=hint
        )
        return envelope_id

    # Identities

    async def register(
        self,
        agent: Agent | AgentFunction,
        passport: Passport | None = None,
        resume: Resume | None = None,
        *,
        skill_md: str | None = None,
        rule: Rule | None = None,
        handler: Handler = default_handler,
    ) -> AgentClient:
        """
        Register a new identity and return its client.

        Args:
            agent: Anything with a `name` and ``async def ask(turn)``, or an async function.
            passport: Who it is; None is just its name.
            handler: Gets every envelope for it: ``await handler(envelope, client, attempt)``.
                When it returns, the envelope is settled; when it raises, it comes again.

        Raises:
            ProtocolError: The name is taken (`attach` binds an identity that is known).
            AuthError: The credential was refused.

        Cancellation: it may or may not be registered.
        """
        passport = passport if passport is not None else Passport(name=_name_of(agent))
        client = AgentClient(hub_client=self, agent=as_agent(agent, passport.name), handler=handler)
        identity = await self._register(client.handle, passport, resume, skill_md, rule)
        client.bind(identity, resume or Resume(), rule or Rule())
        return client

    async def register_human(
        self,
        passport: Passport,
        *,
        resume: Resume | None = None,
        rule: Rule | None = None,
        auto_ack_invites: bool = True,
    ) -> HumanClient:
        """
        Register somebody who is asked by an application rather than by an agent.

        Args:
            auto_ack_invites: Whether invites are accepted at once.

        Raises and Cancellation: as `register`.
        """
        if passport.kind not in (None, "human"):
            raise ValueError(f"a human's passport is of the kind 'human', not {passport.kind!r}")
        human = HumanClient(hub_client=self, auto_ack_invites=auto_ack_invites)
        identity = await self._register(
            human.handle, attrs.evolve(passport, kind="human"), resume, None, rule
        )
        human.bind(identity, resume or Resume(), rule or Rule())
        return human

    async def attach(
        self,
        agent: Agent | AgentFunction,
        name: str,
        *,
        passport: Passport | None = None,
        resume: Resume | None = None,
        rule: Rule | None = None,
        skill_md: str | None = None,
        since_envelope_id: Since = "",
        handler: Handler = default_handler,
    ) -> AgentClient:
        """
        Bind an identity that the hub knows to this connection, and return its client.

        It is taken from the connection that had it until now. Where the hub does not know the
        name and a passport is given, it is registered.

        Args:
            passport: Its `auth` is what the identity proves itself with.
            since_envelope_id: What was processed before: "" replays everything unacked, None
                nothing; an id says that it and all before it *in its channel* were processed;
                a mapping {channel id: envelope id} says so for each. (With a hub of the plain
                dialect a mapping counts as "".)
            handler: As for `register`.

        Raises:
            NotFoundError: No such name, and no passport.
            AuthError: The credential was refused.

        Cancellation: it may or may not be bound; if so, leaving the block lets go of it.
        """
        agent_id = await self.find_agent_id(name)
        if agent_id is None:
            if passport is None:
                raise NotFoundError(
                    f"no agent is named {name!r}; to register it, give its passport too"
                )
            return await self.register(
                agent, passport, resume, skill_md=skill_md, rule=rule, handler=handler
            )
        known = await self.get_agent(agent_id)
        client = AgentClient(hub_client=self, agent=as_agent(agent, name), handler=handler)
        known_resume = await self.get_resume(agent_id)
        known_rule = await self.get_rule(agent_id)
        auth = passport.auth if passport is not None else AuthBlock(scheme=known.auth.scheme)
        identity = self._identity(client.handle, known, auth)
        identity.since = since_envelope_id
        # Before the hello: what is replayed comes right behind the welcome.
        client.bind(identity, known_resume, known_rule)
        self._add(identity)
        try:
            with _too_slow(self._request_timeout, f"the hub did not answer the hello of {name!r}"):
                await self._bind(identity)
        except BaseException:
            self._remove(identity, ConnectionLost(f"{name!r} was not attached"))
            raise
        return client

    async def unregister(self, agent_id: str) -> None:
        """
        Remove an identity that is attached here from the hub, for good.

        Cancellation: it may or may not be removed.
        """
        await self.request("unregister", p.OfAgent(agent_id=agent_id), None)
        identity = self._identities.get(agent_id)
        if identity is not None:
            self.names.forget(identity.name)
            self._remove(identity, NotFoundError(f"{identity.name!r} was unregistered"))

    async def _register(
        self,
        handle: Callable[[Envelope, int], Awaitable[None]],
        passport: Passport,
        resume: Resume | None,
        skill_md: str | None,
        rule: Rule | None,
    ) -> Identity:
        made: list[Identity] = []

        def registered(result: msgspec.Raw) -> None:
            # The hub has bound it by now, and what is for it may come in the next frame.
            stamped = decode_strictly(result, Passport, "answer to register")
            identity = self._identity(handle, stamped, passport.auth)
            self._add(identity)
            made.append(identity)
            if self._connecting is not None:
                identity.bind(self._connecting)

        sent_before = self._losses
        try:
            await self.request(
                "register",
                p.Register(
                    passport=passport, resume=resume or Resume(), rule=rule, skill_md=skill_md
                ),
                Passport,
                on_result=registered,
            )
        except ProtocolError:
            # The answer to our first try may have been lost with its connection: then it is we
            # who have the name, and a hello with our credential shows it.
            if self._losses == sent_before:
                raise
            stamped = await self._registered_before(passport)
            if stamped is None:
                raise
            identity = self._identity(handle, stamped, passport.auth)
            self._add(identity)
            made.append(identity)
            await self._bind(identity)
        except BaseException:
            for identity in made:
                self._remove(identity, ConnectionLost("its registration was cancelled"))
            raise
        return made[0]

    async def _registered_before(self, passport: Passport) -> Passport | None:
        try:
            stamped = await self.get_agent(passport.name)
        except NotFoundError:
            return None
        ours = attrs.evolve(
            without_claim(passport), agent_id=stamped.agent_id, created_at=stamped.created_at
        )
        return stamped if ours == stamped else None

    def _identity(
        self,
        handle: Callable[[Envelope, int], Awaitable[None]],
        passport: Passport,
        auth: AuthBlock,
    ) -> Identity:
        assert self._nursery is not None
        self.names.remember(passport)
        identity = Identity(
            passport=passport,
            auth=auth,
            handler=handle,
            report=partial(self._report, passport),
            on_caught_up=self._begin_again,
        )
        identity.deliveries = Deliveries(
            identity,
            self._nursery,
            handlers_max=self._max_handlers,
            max_in_flight=self._max_in_flight,
        )
        return identity

    def _add(self, identity: Identity) -> None:
        before = self._identities.get(identity.agent_id)
        if before is not None:
            # Attached again in the same process: the new handle has it from now on.
            before.detach(TakenOver(f"{identity.name!r} was attached again on this connection"))
        self._identities[identity.agent_id] = identity

    def _remove(self, identity: Identity, error: NetworkError) -> None:
        identity.detach(error)
        if self._identities.get(identity.agent_id) is identity:
            del self._identities[identity.agent_id]

    def _refused(self, identity: Identity, error: NetworkError) -> None:
        _log.warning("an identity was detached", agent=identity.name, reason=str(error))
        self._remove(identity, error)
        self._tell(IdentityChange(identity.name, "detached", error))

    async def _bind(self, identity: Identity) -> None:
        """Bind an identity to the live connection, however often that is lost meanwhile."""
        while identity.connection is None:
            identity.check_attached()
            await self.wait_state(ClientState.LIVE)
            connection = self._connection
            if connection is None or identity.connection is not None:
                continue
            try:
                await self._say_hello(identity, connection)
            except ConnectionLost:
                # The one it was said on; `wait_state` knows whether there will be another.
                await trio.lowlevel.checkpoint()

    async def _say_hello(self, identity: Identity, connection: Connection) -> None:
        frame, positions = identity.hello(connection.dialect)

        def welcomed(welcome: Any) -> None:
            if self._identities.get(identity.agent_id) is not identity:
                return
            identity.welcomed(connection, welcome, positions)
            if welcome.position_lost:
                _log.warning("the hub's log is an older one", agent=identity.name)
                self._tell(IdentityChange(identity.name, "position_lost"))

        await connection.hello(frame, welcomed)

    def _begin_again(self, identity: Identity) -> None:
        """After an overrun: everything from the first envelope that was let go of."""
        connection = identity.connection
        if connection is not None and self._nursery is not None and not identity.rejoining:
            identity.rejoining = True
            self._nursery.start_soon(self._rejoin, identity, connection)

    async def _rejoin(self, identity: Identity, connection: Connection) -> None:
        try:
            with trio.fail_after(self._request_timeout):
                await self._say_hello(identity, connection)
        except ConnectionLost:
            # The next connection begins with a hello anyway.
            return
        except (NetworkError, trio.TooSlowError) as error:
            connection.close_soon()
            _log.warning("the hub did not replay", agent=identity.name, reason=str(error))
        finally:
            identity.rejoining = False

    async def _report(self, passport: Passport, envelope: Envelope, error: Exception) -> None:
        assert passport.agent_id is not None
        try:
            await self.report_turn_failure(
                channel_id=envelope.channel_id,
                agent_id=passport.agent_id,
                envelope_id=envelope.envelope_id,
                error=error,
            )
        except (NetworkError, trio.TooSlowError) as failure:
            _log.warning("a failed turn was not reported", reason=str(failure))

    async def _tell_progress(self) -> None:
        interval = self._progress_interval_seconds
        while True:
            await trio.sleep(interval)
            for identity in self._identities.values():
                for envelope in identity.deliveries.handled_for(
                    interval, self._handler_patience_seconds
                ):
                    identity.send_receipt(envelope, "progress")

    # What the connection brings (`FrameSink`)

    def on_response(self, frame: ResponseFrame) -> None:
        """Hand an answer to whoever asked."""
        if frame.error_code == HubClosing.code and self._reconnect is not None:
            # Not done, and not refused either: it is asked again over the next connection.
            self._calls.put_back(frame.request_id)
            if self._connecting is not None:
                self._hub_is_closing(self._connecting, HubClosing(frame.error_message))
            return
        if not self._calls.answer(frame):
            _log.debug("an answer that nobody waits for", request_id=frame.request_id)

    def on_notify(self, frame: NotifyFrame) -> None:
        """Hand an envelope to the identity that it is for."""
        recipients = (frame.recipient_id,) if frame.recipient_id else frame.envelope.audience or ()
        for agent_id in recipients:
            identity = self._identities.get(agent_id)
            if identity is not None:
                identity.arrive(frame.envelope, frame.attempt)
            else:
                _log.debug("an envelope for nobody here", recipient_id=agent_id)

    def on_error(self, connection: Connection, frame: ErrorFrame) -> None:
        """Hear what the hub has to say without being asked."""
        error = error_from_code(
            frame.code, frame.message, retry_after_seconds=frame.retry_after_seconds
        )
        if isinstance(error, TakenOver):
            for identity in self._named(frame.name):
                self._refused(identity, error)
        elif isinstance(error, HubClosing):
            self._hub_is_closing(connection, error)
        else:
            _log.warning("the hub complains", code=frame.code, message=frame.message)

    def _named(self, name: str) -> list[Identity]:
        if name:
            return [one for one in self._identities.values() if one.name == name]
        # The plain dialect does not say whose; with one identity there is no question.
        everybody = list(self._identities.values())
        return everybody if len(everybody) == 1 else []

    def _hub_is_closing(self, connection: Connection, error: NetworkError) -> None:
        if connection.closing is None and self._nursery is not None:
            connection.closing = error
            self._connection = None
            if self._reconnect is not None and self._state is ClientState.LIVE:
                self._set_state(ClientState.RECONNECTING, error)
            self._nursery.start_soon(self._close_in_a_while, connection)

    async def _close_in_a_while(self, connection: Connection) -> None:
        # The hub answers what it still can, and closes. Should it not, we do.
        await trio.sleep(_FAREWELL_SECONDS_MAX)
        connection.close_soon()

    # The connection

    async def _keep_connected(self, task_status: trio.TaskStatus[None]) -> None:
        waits = 0
        down_since = trio.current_time()
        started = False
        while True:
            lost, was_live = await self._connect_once(
                task_status.started if not started else _nothing
            )
            started = started or was_live
            self._losses += 1
            if was_live:
                waits, down_since = 0, trio.current_time()
            delay = self._wait_before_retry(lost, waits)
            reason = self._why_give_up(lost, started, down_since, delay)
            if reason is not None:
                if not started:
                    raise reason
                self._close(reason)
                return
            self._set_state(ClientState.RECONNECTING if started else ClientState.CONNECTING, lost)
            waits += 1
            await trio.sleep(delay)
            if self._leaving:
                return

    def _wait_before_retry(self, lost: NetworkError, waits: int) -> float:
        if self._reconnect is None:
            return 0.0
        delay = self._reconnect.backoff.delay(waits, _RNG)
        return max(delay, lost.retry_after_seconds or 0.0)

    def _why_give_up(
        self, lost: NetworkError, started: bool, down_since: float, delay: float
    ) -> NetworkError | None:
        if self._leaving:
            return ConnectionLost("this client was closed")
        if self._reconnect is None or not (started or self._reconnect.wait_for_hub):
            return lost
        if not lost.retryable:
            return lost
        limit = self._reconnect.give_up_after_seconds
        if limit is not None and trio.current_time() + delay > down_since + limit:
            return ConnectionLost(
                f"no connection for {limit:g} s, gave up; the last reason: {lost}"
            )
        return None

    async def _connect_once(self, on_live: Callable[[], None]) -> tuple[NetworkError, bool]:
        """Connect, live, and return why it is over and whether it had been live at all."""
        was_live = False
        try:
            async with self._link.connect() as endpoint:
                connection = Connection(endpoint, self)
                self._connecting = connection
                try:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(endpoint.write_out)
                        nursery.start_soon(endpoint.heartbeat)
                        nursery.start_soon(self._read, connection, nursery.cancel_scope)
                        was_live = await self._come_back(connection)
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

    def _gone(self, connection: Connection) -> None:
        connection.fail(ConnectionLost("the connection was given up"))
        self._connection = self._connecting = None
        for identity in self._identities.values():
            if identity.connection is connection:
                identity.connection = None
        # Not only once it has been closed in all form, which can take a while.
        if self._reconnect is not None and not self._leaving and self._state is ClientState.LIVE:
            self._set_state(ClientState.RECONNECTING, connection.closing or connection.lost)

    async def _come_back(self, connection: Connection) -> bool:
        """Bind everybody, send what has no answer, and be live. False where that failed."""
        returning = [one for one in self._identities.values() if one.established]
        try:
            with _too_slow(self._request_timeout, "the hub did not answer a hello"):
                for start in range(0, len(returning), _HELLOS_AT_ONCE):
                    async with trio.open_nursery() as nursery:
                        for identity in returning[start : start + _HELLOS_AT_ONCE]:
                            nursery.start_soon(self._return, identity, connection)
                    if connection.lost is not None:
                        return False
            # Again until there is none: while waiting for room, others may have come.
            while waiting := self._calls.to_send_over(connection):
                for call in waiting:
                    await connection.wait_for_room()
                    if connection.lost is not None:
                        return False
                    if not call.answered.is_set():
                        self._send(call, connection)
        except trio.TooSlowError as error:
            connection.fail(ConnectionLost(str(error)))
            return False
        if self._leaving or connection.closing is not None:
            return False
        self._connection = connection
        self._set_state(ClientState.LIVE)
        return True

    async def _return(self, identity: Identity, connection: Connection) -> None:
        try:
            await self._say_hello(identity, connection)
        except NetworkError as error:
            if error.retryable:
                # Not now, or not over this connection: begin again later.
                connection.fail(error)
            else:
                self._refused(identity, error)


def _nothing() -> None:
    """For the second time that something would be said once."""


def _name_of(agent: Agent | AgentFunction) -> str:
    name = getattr(agent, "name", None) or getattr(agent, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"{agent!r} has no name; give a passport, or wrap it in a FunctionAgent")
    return name


@contextmanager
def _too_slow(seconds: float, what: str) -> Iterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise trio.TooSlowError(f"{what} within {seconds:g} s")
