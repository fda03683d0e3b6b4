"""
The client of a hub: one connection that comes back by itself, and all identities on it.

The life of a `HubClient` is its ``async with`` block. One task keeps the connection: it connects,
binds every identity by a hello, sends what was asked and not answered yet, and reads until the
link is gone; then it begins again. Requests do not notice, but for the time it takes.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs
import trio

from .._logging import get_logger
from .._tracing import find_tracing
from ..errors import ConnectionLost, NetworkError, NotFoundError, ProtocolError
from ..records import AuthBlock, Envelope, Passport, Resume, Rule
from ..wire import params as p
from ..wire.frames import Dialect, ResponseFrame
from .agent_client import AgentClient
from .agents import Agent, AgentFunction, as_agent
from .enrolment import Enrolment
from .handlers import Handler, default_handler
from .human_client import HumanClient
from .identity import Since
from .keeper import Keeper
from .operations import HubOperations
from .requester import Requester
from .roster import Roster
from .state_board import StateBoard
from .states import ClientState, Observer, Reconnect

if TYPE_CHECKING:
    from ..links.base import Link

__all__ = ["HubClient"]

_log = get_logger("trio_hub.client")

_CLOSE_SECONDS_MAX = 2.0


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
        rng: Source of idempotency keys and jitter; for tests that must run the same each time.

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
        rng: random.Random | None = None,
    ) -> None:
        # Keys must differ from those of every other client, or a post would be taken for theirs.
        rng = random.SystemRandom() if rng is None else rng
        super().__init__(rng)
        self.link = link
        self._tracing = find_tracing()
        self._progress_interval_seconds = progress_interval_seconds
        self._handler_patience_seconds = handler_patience_seconds
        self._board = StateBoard()
        self._requester = Requester(
            self._board,
            request_timeout=request_timeout,
            open_timeout=open_timeout,
            waiting_max=max_waiting_requests,
        )
        self._roster = Roster(
            self._board,
            self._report,
            max_in_flight=max_in_flight,
            max_handlers=max_handlers,
            hello_timeout=request_timeout,
        )
        self._keeper = Keeper(link, reconnect, rng, self._board, self._requester, self._roster)
        self._enrolment = Enrolment(
            self, self._board, self._keeper, self._roster, hello_timeout=request_timeout
        )
        self._nursery: trio.Nursery | None = None
        self._nursery_manager: Any = None

    def __repr__(self) -> str:
        names = ", ".join(sorted(one.name for one in self._roster)[:5])
        return f"<HubClient {self.state} over {self.link!r}: {names or 'nobody'}>"

    # Its life

    async def __aenter__(self) -> Self:
        if self._nursery_manager is not None:
            raise RuntimeError("a HubClient is entered once; make another one")
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        self._roster.work_in(self._nursery)
        try:
            await self._nursery.start(self._keeper.keep, self._nursery)
        except BaseException:
            await self._leave()
            raise
        self._nursery.start_soon(
            self._roster.tell_progress,
            self._progress_interval_seconds,
            self._handler_patience_seconds,
        )
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
        self._check_entered()
        await self.wait_state(ClientState.LIVE)
        return self

    async def close(self) -> None:
        """
        Write out what waits to be written, and close the connection. Idempotent.

        The hub keeps the identities; `attach` brings them back. What waits raises
        `ConnectionLost`.

        Cancellation: the connection is closed without ceremony by leaving the block.
        """
        self._keeper.leaving = True
        if self._keeper.connection is not None:
            self._keeper.connection.close_soon()
            with trio.move_on_after(_CLOSE_SECONDS_MAX):
                await self.wait_state(ClientState.CLOSED)
        self._keeper.close(ConnectionLost("this client was closed"))

    async def _leave(self) -> None:
        self._keeper.leaving = True
        self._keeper.close(ConnectionLost("this client was closed"))
        assert self._nursery is not None
        self._nursery.cancel_scope.cancel()
        try:
            # What the block raised is not the nursery's: it leaves as it is, in no group.
            await self._nursery_manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise

    def _check_entered(self) -> None:
        if self._nursery is None:
            raise RuntimeError(
                "a HubClient lives in a block: write `async with HubClient(link) as hub_client:`"
            )

    # States

    @property
    def state(self) -> ClientState:
        """Where the connection stands."""
        return self._board.state

    @property
    def waiting_requests(self) -> int:
        """How many requests have no answer yet."""
        return len(self._requester.calls)

    @property
    def speaks_plain(self) -> bool:
        """Whether the connection is of the plain dialect, so that the hub may be AG2's."""
        connection = self._requester.connection
        return connection is not None and connection.dialect is Dialect.PLAIN

    async def wait_state(self, *states: ClientState) -> ClientState:
        """
        Return once the connection is in one of `states`, and in which.

        Raises:
            ConnectionLost: The client is closed, and that was not waited for.

        Cancellation: changes nothing.
        """
        return await self._board.wait(*states)

    def observed_by(self, observer: Observer) -> AbstractContextManager[None]:
        """
        Tell `observer` of every `StateChange` and `IdentityChange` while the block lasts.

        It is called from inside the client, so it must not block or raise; put what it hears
        into a memory channel to work on it.
        """
        return self._board.observed_by(observer)

    # Requests

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
        self._check_entered()
        return await self._requester.request(
            op, params, result, timeout=timeout, hint=hint, on_result=on_result
        )

    async def post_envelope(self, envelope: Envelope) -> str:
        """
        Post an envelope of an agent that is attached here, and return its id.

        Without an idempotency key it is given one, so that sending it again after the
        connection was lost posts it once.

        Durability: when this returns, the envelope is on the hub's disk.

        Cancellation: it may or may not be posted; posting it again under the same key tells.
        """
        if envelope.idempotency_key is None:
            envelope = attrs.evolve(envelope, idempotency_key=self.new_key())
        if self._tracing is None:
            return await self._post(envelope)
        attributes = {
            "trio_hub.channel_id": envelope.channel_id,
            "trio_hub.sender_id": envelope.sender_id,
            "trio_hub.event_type": envelope.event_type,
        }
        with self._tracing.around("trio_hub post", envelope.trace_id, attributes) as traceparent:
            return await self._post(
                attrs.evolve(envelope, trace_id=traceparent or envelope.trace_id)
            )

    async def _post(self, envelope: Envelope) -> str:
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
        identity = await self._enrolment.register(client.handle, passport, resume, skill_md, rule)
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
        identity = await self._enrolment.register(
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
        client = AgentClient(hub_client=self, agent=as_agent(agent, name), handler=handler)
        await self._enrolment.attach(client, name, agent_id, passport, since_envelope_id)
        return client

    async def attach_human(
        self,
        name: str,
        *,
        passport: Passport | None = None,
        resume: Resume | None = None,
        rule: Rule | None = None,
        since_envelope_id: Since = "",
        auto_ack_invites: bool = True,
        on_envelope: Callable[[Envelope], Awaitable[None]] | None = None,
    ) -> HumanClient:
        """
        Bind a person that the hub knows to this connection, as `attach` does an agent.

        Args:
            passport: As for `attach`; its kind is made "human".
            on_envelope: As `HumanClient.on_envelope`, from the first envelope on: what waited for
                the person comes right behind the welcome.

        Raises:
            ProtocolError: The name is that of an agent, which would lose its connection.
            NotFoundError, AuthError: As `attach`.

        Cancellation: as `attach`.
        """
        agent_id = await self.find_agent_id(name)
        if agent_id is None and passport is None:
            raise NotFoundError(f"nobody is named {name!r}; to register it, give its passport too")
        if agent_id is None:
            assert passport is not None
            human = await self.register_human(
                passport, resume=resume, rule=rule, auto_ack_invites=auto_ack_invites
            )
            if on_envelope is not None:
                human.on_envelope(on_envelope)
            return human
        kind = (await self.get_agent(agent_id)).effective_kind
        if kind != "human":
            raise ProtocolError(
                f"{name!r} is of the kind {kind!r}, and would lose its connection to a person: "
                "take another name"
            )
        human = HumanClient(hub_client=self, auto_ack_invites=auto_ack_invites)
        if on_envelope is not None:
            human.on_envelope(on_envelope)
        await self._enrolment.attach(human, name, agent_id, passport, since_envelope_id)
        return human

    async def renew(self, agent_id: str, auth: AuthBlock) -> None:
        """
        Prove an identity that is attached here by another credential; see `AgentClient.renew`.

        Raises:
            NotFoundError: It is not attached here.
        """
        await self._enrolment.renew(agent_id, auth)

    async def unregister(self, agent_id: str) -> None:
        """
        Remove an identity that is attached here from the hub, for good.

        Cancellation: it may or may not be removed.
        """
        await self._enrolment.unregister(agent_id)

    async def _report(self, agent_id: str, envelope: Envelope, error: Exception) -> None:
        try:
            await self.report_turn_failure(
                channel_id=envelope.channel_id,
                agent_id=agent_id,
                envelope_id=envelope.envelope_id,
                error=error,
            )
        except (NetworkError, trio.TooSlowError) as failure:
            _log.warning("a failed turn was not reported", reason=str(failure))


def _name_of(agent: Agent | AgentFunction) -> str:
    name = getattr(agent, "name", None) or getattr(agent, "__name__", None)
    if not isinstance(name, str):
        raise TypeError(f"{agent!r} has no name; give a passport, or wrap it in a FunctionAgent")
    return name
