"""Who is on the connection: all identities of a client, and what is said to and about them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator

import trio

from .._logging import get_logger
from ..errors import AuthError, ConnectionLost, NetworkError, TakenOver
from ..records import AuthBlock, Envelope, Passport
from ..wire.frames import HelloFrame, NotifyFrame, WelcomeFrame
from .connection import Connection
from .deliveries import Deliveries
from .identity import Identity
from .state_board import StateBoard
from .states import IdentityChange

__all__ = ["Roster"]

_log = get_logger("trio_hub.client")

# Hellos sent before the first is answered: enough to hide the round trip.
_HELLOS_AT_ONCE = 64


# How long a hub may take to read what was sent to it over a connection that is gone: as long as
# it believes in one that says nothing.
_GHOST_SECONDS = 60.0


class Roster:
    """
    The identities of one client.

    Args:
        board: Told of what happens to them.
        report: Told of a failed turn (agent id, envelope, error); must not raise.
        max_in_flight: Envelopes that may stand with one identity.
        max_handlers: Channels of one identity that are handled at once.
        hello_timeout: Seconds that the hub may take to answer a hello.
    """

    def __init__(
        self,
        board: StateBoard,
        report: Callable[[str, Envelope, Exception], Awaitable[None]],
        *,
        max_in_flight: int,
        max_handlers: int,
        hello_timeout: float,
    ) -> None:
        self._board = board
        self._report = report
        self._max_in_flight = max_in_flight
        self._max_handlers = max_handlers
        self._hello_timeout = hello_timeout
        self._identities: dict[str, Identity] = {}
        self._nursery: trio.Nursery

    def __iter__(self) -> Iterator[Identity]:
        return iter(list(self._identities.values()))

    def work_in(self, nursery: trio.Nursery) -> None:
        """Where handlers are to run."""
        self._nursery = nursery

    def make(
        self,
        handler: Callable[[Envelope, int], Awaitable[None]],
        passport: Passport,
        auth: AuthBlock,
    ) -> Identity:
        """Make an identity of a stamped passport; `add` puts it on the roster."""
        agent_id = passport.stamped_id

        async def report(envelope: Envelope, error: Exception) -> None:
            await self._report(agent_id, envelope, error)

        identity = Identity(
            passport=passport,
            auth=auth,
            handler=handler,
            report=report,
            on_caught_up=self._begin_again,
        )
        identity.deliveries = Deliveries(
            identity,
            self._nursery,
            handlers_max=self._max_handlers,
            max_in_flight=self._max_in_flight,
        )
        return identity

    def get(self, agent_id: str) -> Identity | None:
        """Return the identity of that id, if it is here."""
        return self._identities.get(agent_id)

    def add(self, identity: Identity) -> None:
        """Put an identity on the roster: what arrives for it from now on is its."""
        before = self._identities.get(identity.agent_id)
        if before is not None:
            before.detach(TakenOver(f"{identity.name!r} was attached again on this connection"))
        self._identities[identity.agent_id] = identity

    def remove(self, identity: Identity, error: NetworkError) -> None:
        """Take an identity off: what waits for it raises `error`."""
        identity.detach(error)
        if self._identities.get(identity.agent_id) is identity:
            del self._identities[identity.agent_id]

    def end(self, error: str) -> None:
        """The client is closed, and everybody on it is gone."""
        for identity in self:
            identity.detach(ConnectionLost(error))

    # Coming and going of connections

    async def say_hello(self, identity: Identity, connection: Connection) -> None:
        """
        Bind an identity to a connection. Raises what the hub refuses it with.

        Cancellation: it may or may not be bound.
        """
        frame, positions = identity.hello(connection.dialect)

        def welcomed(welcome: WelcomeFrame) -> None:
            if self._identities.get(identity.agent_id) is not identity:
                return
            identity.welcomed(connection, welcome, positions)
            if welcome.position_lost:
                _log.warning("the hub's log is an older one", agent=identity.name)
                self._board.tell(IdentityChange(identity.name, "position_lost"))

        try:
            await connection.hello(frame, welcomed)
        except (ConnectionLost, trio.Cancelled):
            # It may be with the hub all the same, and be read after that of the next connection.
            identity.ghost_until = trio.current_time() + _GHOST_SECONDS
            raise

    async def renew(self, identity: Identity, auth: AuthBlock) -> None:
        """
        Prove an identity anew over the connection that it is bound to, if it is to one.

        Raises:
            NetworkError: What the hub refused it with; what it had before is kept, and holds.

        Cancellation: the hub may know the new one; it is shown when the identity comes back.
        """
        before, identity.auth = identity.auth, auth
        connection = identity.connection
        if connection is None:
            return
        frame = HelloFrame(
            name=identity.name,
            auth_scheme=auth.scheme,
            auth_claim=dict(auth.claim),
            epoch=identity.epoch,
        )
        try:
            await connection.hello(frame, lambda _welcome: None)
        except ConnectionLost:
            return  # It is what the next connection begins with.
        except NetworkError:
            identity.auth = before
            raise

    async def return_over(self, connection: Connection) -> None:
        """
        Bind everybody who was bound before to a new connection.

        One that the hub refuses for good is detached. Where it refuses for the moment, or does
        not answer, the connection is failed, and nobody is lost. With nobody to bind, a ping
        shows that the hub is there: one that takes connections only to drop them is not.

        Cancellation: some may be bound.
        """
        returning = [one for one in self._identities.values() if one.established]
        with trio.move_on_after(self._hello_timeout) as scope:
            if not returning:
                await connection.ping()
            for start in range(0, len(returning), _HELLOS_AT_ONCE):
                async with trio.open_nursery() as nursery:
                    for identity in returning[start : start + _HELLOS_AT_ONCE]:
                        nursery.start_soon(self._return_one, identity, connection)
                if connection.lost is not None:
                    return
        if scope.cancelled_caught:
            connection.fail(ConnectionLost(f"the hub said nothing for {self._hello_timeout:g} s"))

    async def _return_one(self, identity: Identity, connection: Connection) -> None:
        try:
            await self.say_hello(identity, connection)
        except NetworkError as error:
            if error.retryable:
                connection.fail(error)
            else:
                self._detach(identity, error)

    def gone(self, connection: Connection) -> None:
        """A connection is gone, and nobody is bound to it any more."""
        for identity in self._identities.values():
            if identity.connection is connection:
                identity.connection = None

    # What the hub says

    def deliver(self, frame: NotifyFrame) -> None:
        """Hand an envelope to whom it is for. Never waits."""
        recipients = (frame.recipient_id,) if frame.recipient_id else frame.envelope.audience or ()
        for agent_id in recipients:
            identity = self._identities.get(agent_id)
            if identity is not None:
                identity.arrive(frame.envelope, frame.attempt)
            else:
                _log.debug("an envelope for nobody here", recipient_id=agent_id)

    def taken_over(self, name: str, error: TakenOver) -> None:
        """Another connection has an identity now: it stays away from this one."""
        everybody = list(self._identities.values())
        concerned = [one for one in everybody if one.name == name]
        if not name and len(everybody) == 1:
            # The plain dialect does not say whose; here there is no question.
            concerned = everybody
        for identity in concerned:
            if trio.current_time() < identity.ghost_until:
                # Most likely by our own last connection, which is gone: take it back, once.
                identity.ghost_until = -math.inf
                _log.info("taken over by an earlier connection", agent=identity.name)
                self._begin_again(identity)
            else:
                self._detach(identity, error)

    def credential_ended(self, connection: Connection, name: str) -> None:
        """The hub has let go of an identity, whose credential ended: show the one it has now."""
        for identity in self._identities.values():
            if identity.name == name and identity.connection is connection:
                self._begin_again(identity)

    def _detach(self, identity: Identity, error: NetworkError) -> None:
        _log.warning("an identity was detached", agent=identity.name, reason=str(error))
        self.remove(identity, error)
        self._board.tell(IdentityChange(identity.name, "detached", error))

    # What goes on by itself

    async def tell_progress(self, interval: float, patience: float) -> None:
        """
        Tell the hub every `interval` seconds what is still being worked on, for ever.

        Args:
            patience: After so many seconds with one envelope its handler is taken to hang. That of
                a person is not: the person may be away.
        """
        while True:
            await trio.sleep(interval)
            for identity in self._identities.values():
                is_person = identity.passport.effective_kind == "human"
                longest = math.inf if is_person else patience
                for envelope in identity.deliveries.handled_for(interval, longest):
                    identity.send_receipt(envelope, "progress")

    def _begin_again(self, identity: Identity) -> None:
        if identity.connection is not None and not identity.rejoining:
            identity.rejoining = True
            self._nursery.start_soon(self._rejoin, identity, identity.connection)

    async def _rejoin(self, identity: Identity, connection: Connection) -> None:
        try:
            with trio.move_on_after(self._hello_timeout) as scope:
                await self.say_hello(identity, connection)
            if scope.cancelled_caught:
                connection.close_soon()
        except ConnectionLost:
            # The next connection begins with a hello anyway.
            return
        except AuthError as error:
            self._detach(identity, error)
        except NetworkError as error:
            _log.warning("the hub did not replay", agent=identity.name, reason=str(error))
            connection.close_soon()
        finally:
            identity.rejoining = False
