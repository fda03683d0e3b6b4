"""
The reception: what the hub is to its connections (see `ConnectionHost`).

Who comes in, who they say they are, what they may do, and whom they act for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from .._logging import get_logger
from ..auth import AuthRegistry, Credential, NoAuth
from ..errors import (
    AccessDeniedError,
    AgentRevoked,
    AuthError,
    NetworkError,
    NotFoundError,
    RateLimited,
    TakenOver,
)
from ..ids import Now, iso_from_seconds
from ..links import LinkEndpoint
from ..records import AuthBlock, Passport
from ..wire.frames import HelloFrame, ReceiptFrame, WelcomeFrame
from ..wire.operations import Caller, Operation
from ..wire.params import PostEnvelope
from .announcer import Announcer
from .attempts import Attempts
from .authorization import authorize
from .channels import Channel, ChannelBook, Posted
from .connection import Connection
from .connection_host import Greeting, Handler
from .deliveries import Deliveries
from .doorstep import Doorstep
from .gate import Gate
from .limits import HubLimits
from .operators import Operators
from .posting import Posting
from .registry import Registry
from .revocations import Revocations
from .strangers import Stranger, Strangers
from .tasks import TaskBook
from .tenures import REVOKED, Tenures
from .timers import Timers
from .turn import Turn

__all__ = ["Reception"]

log = get_logger(__name__)

# RFC 6455's registry of close codes: "Service Restart", which tells clients to come back.
_SERVICE_RESTART = 1012


class Reception:
    """
    All connections.

    Args:
        gate: Whether anybody is let in.
        turn: What is pushed to connections during one is written at its end.
        auth: Who may be whom.
        attempts: Who may try to show it.
        registry: Who there is.
        channels: What they take part in.
        tasks: What they own.
        operators: Who looks after the hub.
        revocations: Whom they have shut out.
        deliveries: What they are owed.
        posting: What they send.
        announcer: Told of who comes, goes and is refused.
        limits: The hub's.
        timers: Wake who looks after strangers.
        clock: Seconds since 1970.
        epoch: Returns the identity of the hub's logs.
    """

    def __init__(
        self,
        *,
        gate: Gate,
        turn: Turn,
        auth: AuthRegistry,
        attempts: Attempts,
        registry: Registry,
        channels: ChannelBook,
        tasks: TaskBook,
        operators: Operators,
        revocations: Revocations,
        deliveries: Deliveries,
        posting: Posting,
        announcer: Announcer,
        limits: HubLimits,
        timers: Timers,
        clock: Now,
        epoch: Callable[[], str],
    ) -> None:
        self._gate = gate
        self.turn = turn
        self._auth = auth
        self._attempts = attempts
        self._registry = registry
        self._channels = channels
        self._tasks = tasks
        self._operators = operators
        self._revocations = revocations
        self._deliveries = deliveries
        self._posting = posting
        self._announcer = announcer
        self._limits = limits
        self._clock = clock
        self._epoch = epoch
        self._connections: dict[Connection, None] = {}
        self._strangers = Strangers(limits, timers)
        self._tenures = Tenures(clock, timers, self._credential_ended)
        self._doorstep = Doorstep(registry, names_max=limits.names_before_authentication_max)
        # Where anybody may be anybody, there is nothing to show.
        self._wants_credentials = NoAuth.scheme not in auth.schemes
        #: Connections that were ever taken, and what peers were refused: (what, code of the error).
        self.opened = 0
        self.refusals: Counter[tuple[str, str]] = Counter()
        #: How many unanswered requests one connection may have, and of how many bytes; asked for
        #: with every request.
        self.requests_in_flight_max = limits.requests_in_flight_max
        self.request_bytes_in_flight_max = limits.request_bytes_in_flight_max
        #: The handler of every operation but ``post_envelope``; the hub fills it in.
        self.handlers: Mapping[str, Handler] = {}

    def __len__(self) -> int:
        return len(self._connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._connections)

    async def serve(self, endpoint: LinkEndpoint) -> None:
        """Talk with a peer until either side is done. Cancellation: the connection ends."""
        endpoint.use_cork(self.turn.cork)
        connection = Connection(self, endpoint)
        if self._gate.closed:
            endpoint.close_soon(_SERVICE_RESTART, "the hub is closing")
        self._connections[connection] = None
        self.opened += 1
        self._announcer.connection(connection.connection_id, "opened", endpoint.peer)
        if self._wants_credentials:
            self._strangers.came(connection)
        await connection.run()

    def opening_came(self, opening: Stranger) -> None:
        """Somebody shakes hands: on a hub that wants credentials, one more who has shown none."""
        if self._wants_credentials:
            self._strangers.came(opening)

    def opening_left(self, opening: Stranger) -> None:
        """The handshake is over. If it went well, a connection is to take its place at once."""
        self._strangers.left(opening)

    def say_goodbye(self) -> None:
        """Tell everybody to come back later, and close once they have been told."""
        for connection in list(self._connections):
            connection.send_error(self._gate.goodbye())
            connection.endpoint.close_soon(_SERVICE_RESTART, "the hub is closing")

    def look(self) -> None:
        """See whether credentials have expired, now that time has passed."""
        self._tenures.look()

    def forget(self, agent_id: str) -> None:
        """There is no such identity any more."""
        self._tenures.release(agent_id)

    def unbound(self, connection: Connection) -> None:
        """
        A connection has lost an identity. Without any it is a stranger again, or whoever has one
        credential could take all places, connection after connection.
        """
        if self._wants_credentials and connection in self._connections and not connection.bound:
            self._strangers.came(connection)

    def bind(
        self,
        connection: Connection,
        agent_id: str,
        credential: Credential | None = None,
        *,
        replays: bool = True,
    ) -> None:
        """
        Let a connection act for an identity, and no other connection any more.

        Args:
            credential: By which it does, for as long as that lasts; None is for good.
        """
        if connection.endpoint.closed:
            return
        self._strangers.left(connection)
        connection.bound[agent_id] = self._registry.name_of(agent_id)
        before = self._deliveries.attach(agent_id, connection, replays=replays)
        self._announcer.attached(agent_id, connection.connection_id)
        if isinstance(before, Connection):
            before.take_away(agent_id)
            self.unbound(before)
            self._announcer.taken_over(
                agent_id, before.connection_id, connection.connection_id, connection.endpoint.peer
            )
        self._tenures.hold(agent_id, credential)

    def part_with(self, agent_id: str, error: AgentRevoked) -> None:
        """Tell whoever acts for an agent that an operator has revoked it, and let it go."""
        connection = self._deliveries.binding_of(agent_id)
        if isinstance(connection, Connection):
            self._let_go(connection, agent_id)
            connection.lose(agent_id, error, "revoked by an operator")

    def check_identities(self, connection: Connection) -> None:
        """Raise `AccessDeniedError` where a connection acts for as many as it may."""
        if len(connection.bound) >= self._limits.identities_per_connection_max:
            raise AccessDeniedError(
                f"this connection acts for {len(connection.bound)} agents, as many as it may; "
                "open another one"
            )

    # What a connection asks for

    @property
    def malformed_frames_per_minute(self) -> int:
        """How many frames that are none one connection may send."""
        return self._limits.malformed_frames_per_minute

    def authorize(self, connection: Connection, operation: Operation, params: Any) -> None:
        """Raise `AccessDeniedError` where the connection may not do that."""
        if not connection.bound and self._wants_credentials and operation.caller is Caller.ARRIVING:
            self._doorstep.check(connection.named, operation, params)
        name = authorize(
            connection.bound,
            operation,
            params,
            self._channels,
            self._tasks,
            self._operators,
            wants_credentials=self._wants_credentials,
        )
        if name is not None:
            subject = operation.subject(params)
            of_channel = operation.caller is Caller.MEMBER_OR_OPERATOR
            # Submitted before what it is about, so it is on disk no later.
            self._announcer.operator_acted(
                name,
                operation.name,
                agent_id=None if of_channel else subject,
                channel_id=subject if of_channel else None,
            )

    def refused(self, what: str, error: NetworkError) -> None:
        """Count what a peer is refused."""
        self.refusals[what, error.code] += 1

    def post(self, connection: Connection, params: PostEnvelope) -> Awaitable[Posted]:
        """Post an envelope; what is returned may be told once the ticket is durable."""
        return self._posting.post_from_wire(connection.bound, params.envelope)

    async def hello(self, connection: Connection, frame: HelloFrame) -> Greeting:
        """
        Check a credential, and look up where the identity's deliveries begin.

        Raises:
            AuthError: The credential was refused; the audit log has it.
            AgentRevoked: It is good, and an operator has revoked the name.
            RateLimited: Too many were refused to its address.
            NotFoundError: Nobody of that name is registered. Where credentials are wanted, only
                who has a good one for it is told.
            StoreError: What it is owed cannot be read now.
            TakenOver: The same client has attached by a later connection.
        """
        await self._announcer.room()
        if frame.name not in connection.bound.values():
            self.check_identities(connection)
        if not self._wants_credentials:
            self._passport_of(frame.name)
        async with self._attempts.attempt(
            connection.connection_id, connection.endpoint.peer, frame.name, frame.auth_scheme
        ):
            credential = await self._check(connection, frame)
            self._revocations.check(frame.name)
        greeting = await self._greet(connection, frame, credential)
        self._check_not_late(connection, greeting.welcome)
        # Nothing comes between this and its binding, so nobody slips through.
        self._revocations.check(frame.name)
        return greeting

    def _check_not_late(self, connection: Connection, welcome: WelcomeFrame) -> None:
        """
        Let a hello take nothing from a later connection of the same client.

        A client whose connection is cut says hello over the next one, and a hub that has much to
        do may read that one first.
        """
        binding = self._deliveries.binding_of(welcome.agent_id)
        if isinstance(binding, Connection) and binding.comes_after(connection):
            raise TakenOver(
                f"the client that attached as {welcome.name!r} has come by another connection since"
            )

    async def check_bearer(self, token: str, peer: str) -> bool:
        """See `BearerChecker.check_bearer`."""
        await self._announcer.room()
        async with self._attempts.attempt("", peer, "", "bearer"):
            return await self._auth.check_bearer(token)

    async def certificate_refused(self, peer: str, reason: str) -> None:
        """See `CertificateAuditor.certificate_refused`."""
        self.refused("connection", AuthError(reason))
        # Past the limit it is not audited: a stranger must not fill the disk.
        with suppress(AuthError, RateLimited):
            async with self._attempts.attempt("", peer, "", "client_cert"):
                raise AuthError(reason)

    async def _check(self, connection: Connection, frame: HelloFrame) -> Credential | None:
        """Check a credential first, and look at who is registered only if it is good."""
        agent_id = self._registry.id_of(frame.name)
        if agent_id is None:
            passport = Passport(name=frame.name, auth=AuthBlock(scheme=frame.auth_scheme))
        else:
            passport = self._registry.get(agent_id).passport
        claim = connection.claim_of(frame.auth_claim)
        facts = connection.endpoint.facts
        credential = await self._auth.check(passport, frame.auth_scheme, claim, facts)
        if frame.auth_scheme != passport.auth.scheme:
            raise AuthError(
                f"{frame.name!r} is registered with another auth scheme than {frame.auth_scheme!r}"
            )
        return credential

    def _passport_of(self, name: str) -> Passport:
        agent_id = self._registry.id_of(name)
        if agent_id is None:
            raise NotFoundError(f"no agent {name!r} is registered; register it first")
        return self._registry.get(agent_id).passport

    async def _greet(
        self, connection: Connection, frame: HelloFrame, credential: Credential | None
    ) -> Greeting:
        agent_id = self._passport_of(frame.name).stamped_id
        await self.warm_for(agent_id)
        # Ids of another log say nothing about this one: better twice than never.
        position_lost = frame.epoch is not None and frame.epoch != self._epoch()
        since = frame.since_envelope_id
        processed = {}
        if since and not position_lost:
            processed = await self._positions(agent_id, since)
        welcome = WelcomeFrame(
            endpoint_id=connection.connection_id,
            hub_time=iso_from_seconds(self._clock()),
            name=frame.name,
            agent_id=agent_id,
            epoch=self._epoch(),
            position_lost=position_lost,
        )
        replays = since is not None or position_lost
        return Greeting(welcome, processed, replays=replays, credential=credential)

    async def warm_for(self, agent_id: str) -> None:
        """
        Read the logs in which something may wait for an agent, before it is delivered to.

        Raises:
            StoreError: What it is owed cannot be read now.
        """
        for channel in list(self._channels.of_agent(agent_id)):
            if self._deliveries.is_unread(agent_id, channel):
                await self._warm(channel)

    def begin_deliveries(self, connection: Connection, greeting: Greeting) -> None:
        """Bind an identity that has been welcomed, and deliver to it."""
        agent_id = greeting.welcome.agent_id
        if self._registry.find(agent_id) is None:
            return  # Unregistered while it was being welcomed.
        for channel_id, position in greeting.processed.items():
            channel = self._channels.find(channel_id)
            if channel is not None:
                self._deliveries.resume(agent_id, channel, position)
        if agent_id in connection.bound and not greeting.replays:
            # Only its credential is new: what is on its way to it goes on.
            self._tenures.hold(agent_id, greeting.credential)
            return
        self.bind(connection, agent_id, greeting.credential, replays=greeting.replays)

    @property
    def epoch(self) -> str:
        """The identity of the hub's logs."""
        return self._epoch()

    def receipt(self, frame: ReceiptFrame) -> None:
        """Take a receipt of an identity that is bound to the connection it came from."""
        self._deliveries.receipt(frame)

    def room_again(self, connection: Connection) -> None:
        """Go on with what waited for a full outbox."""
        self._deliveries.room_again(connection.bound)

    def released(self, connection: Connection) -> None:
        """Let go of everything that was bound to a connection."""
        self._connections.pop(connection, None)
        self._strangers.left(connection)
        for agent_id in connection.bound:
            self._let_go(connection, agent_id)
        connection.bound.clear()
        self._announcer.connection(connection.connection_id, "closed", connection.endpoint.peer)

    # Inside

    def _let_go(self, connection: Connection, agent_id: str) -> None:
        self._tenures.release(agent_id)
        self._deliveries.detach(agent_id, connection)
        self._announcer.detached(agent_id, connection.connection_id)

    def _credential_ended(self, agent_id: str, how: str) -> None:
        connection = self._deliveries.binding_of(agent_id)
        if not isinstance(connection, Connection):
            return
        name = connection.bound[agent_id]
        peer = connection.endpoint.peer
        self._announcer.credential_ended(how, agent_id, name, connection.connection_id, peer)
        self._let_go(connection, agent_id)
        what = "was revoked" if how == REVOKED else "has expired"
        error = AuthError(
            f"the credential by which this connection acted for {name!r} {what}; attach again "
            "with another one"
        )
        connection.lose(agent_id, error, f"the credential {what}")

    async def _warm(self, channel: Channel) -> None:
        try:
            await self._channels.warm(channel)
        except NotFoundError as error:
            # Nobody here knows its protocol. Everything else is still delivered.
            log.warning("channel not delivered", channel_id=channel.channel_id, error=str(error))

    async def _positions(self, agent_id: str, since: str | Mapping[str, str]) -> dict[str, int]:
        """
        Find what a client says that it has processed, each id in its own channel.

        Only where something is unsettled, and from there on: clients come back at any time, many
        at once, and most of what they say has been settled long ago.
        """
        found: dict[str, int] = {}
        for channel in list(self._channels.of_agent(agent_id)):
            wanted = since if isinstance(since, str) else since.get(channel.channel_id)
            start = self._deliveries.unsettled_from(agent_id, channel)
            if wanted and start is not None:
                try:
                    position = await self._channels.position_of(channel, wanted, start)
                except NotFoundError:
                    continue  # It has ended, and went meanwhile: nothing of it is owed.
                if position is not None:
                    found[channel.channel_id] = position
        return found
