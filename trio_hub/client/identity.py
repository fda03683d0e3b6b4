"""
One identity on the connection: what it proves itself with, and what is on its way to it.

It outlives the connection. When that goes, the identity stays here with all it knows (which
envelopes are settled, which are being handled) and is bound to the next connection by a hello.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Literal

import attrs

from ..errors import NetworkError
from ..records import AuthBlock, Envelope, Passport
from ..wire.frames import Dialect, HelloFrame, ReceiptFrame, WelcomeFrame
from .deliveries import Deliveries
from .event_memory import EventMemory
from .running_turns import RunningTurns

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Identity", "Since"]

#: What was processed before: None replays nothing, "" everything unacked, an id (or an id for
#: each channel) what comes after it.
Since = str | Mapping[str, str] | None


@attrs.define(eq=False)
class Identity:
    """
    An identity and its deliveries.

    Attributes:
        passport: As the hub returned it, so without a claim.
        auth: What to prove itself with when it comes back. Kept in memory only.
        handler: Given an envelope and the number of the attempt.
        report: Told of a handler's failure; must not raise.
        connection: What it is bound to; None while it is away.
        established: Whether the hub has ever bound it: from then on it is bound again to every
            new connection.
        rejoining: Whether a replay has been asked for.
        ghost_until: Until when a hello of its own, whose connection was cut before the answer, may
            still be on its way to the hub.
        detached: Why it is here no more, for good.
        turns: The turns of it that are under way.
        when_detached: Called when that happens.
    """

    passport: Passport
    auth: AuthBlock = attrs.field(repr=False)
    handler: Callable[[Envelope, int], Awaitable[None]] = attrs.field(repr=False)
    report: Callable[[Envelope, Exception], Awaitable[None]] = attrs.field(repr=False)
    on_caught_up: Callable[[Identity], None] = attrs.field(repr=False)
    since: Since = ""
    epoch: str | None = None
    connection: Connection | None = attrs.field(default=None, repr=False)
    established: bool = False
    rejoining: bool = False
    ghost_until: float = -math.inf
    detached: NetworkError | None = None
    deliveries: Deliveries = attrs.field(init=False, repr=False)
    events: EventMemory = attrs.field(factory=EventMemory, repr=False)
    turns: RunningTurns = attrs.field(factory=RunningTurns, repr=False)
    when_detached: list[Callable[[], None]] = attrs.field(factory=list, repr=False)

    @property
    def name(self) -> str:
        """Its name."""
        return self.passport.name

    @property
    def agent_id(self) -> str:
        """Its id."""
        return self.passport.stamped_id

    def hello(self, dialect: Dialect) -> tuple[HelloFrame, dict[str, str]]:
        """Write the hello that binds it (again), and return the positions that it states."""
        positions: dict[str, str] = {}
        since: str | dict[str, str] | None
        if not self.established:
            since = (
                self.since
                if self.since is None or isinstance(self.since, str)
                else dict(self.since)
            )
        else:
            # One that asked for no replay says nothing of what it never saw.
            positions = self.deliveries.positions() if self.since is not None else {}
            since = dict(positions)
        if isinstance(since, dict) and (dialect is Dialect.PLAIN or not since):
            # A peer of the plain dialect knows no mapping. It replays everything unacked, and
            # what was settled is known here.
            since, positions = "", {}
        frame = HelloFrame(
            name=self.name,
            auth_scheme=self.auth.scheme,
            auth_claim=dict(self.auth.claim),
            since_envelope_id=since,
            epoch=self.epoch,
        )
        return frame, positions

    def welcomed(
        self, connection: Connection, welcome: WelcomeFrame, positions: dict[str, str]
    ) -> None:
        """The hub has bound it to `connection`; what follows on it may be for this identity."""
        self.bind(connection)
        if welcome.position_lost:
            self.deliveries.forget_settled()
        self.deliveries.confirm(positions)
        self.epoch = welcome.epoch or self.epoch

    def bind(self, connection: Connection) -> None:
        """It is bound to `connection`."""
        self.connection = connection
        self.established = True

    def detach(self, error: NetworkError) -> None:
        """It is here no more: what waits for it raises `error`. Only the first reason counts."""
        if self.detached is None:
            self.detached = error
            self.connection = None
            self.events.end(error)
            self.deliveries.stop()
            for call in self.when_detached:
                call()

    def check_attached(self) -> None:
        """Raise why it is here no more, if so."""
        if self.detached is not None:
            raise self.detached

    def arrive(self, envelope: Envelope, attempt: int) -> None:
        """An envelope came for it."""
        if self.deliveries.arrive(envelope, attempt):
            self.events.remember(envelope)
            self.turns.arrived(envelope, reader_id=self.agent_id)

    async def handle(self, envelope: Envelope, attempt: int) -> None:
        """Let the handler have an envelope."""
        await self.handler(envelope, attempt)

    def send_receipt(
        self, envelope: Envelope, status: Literal["ack", "nack", "progress"], reason: str = ""
    ) -> None:
        """Tell the hub what became of an envelope. Without a connection, the hub asks again."""
        if self.connection is None or not envelope.envelope_id:
            return
        if status == "progress" and self.connection.dialect is Dialect.PLAIN:
            return
        self.connection.send(
            ReceiptFrame(
                envelope_id=envelope.envelope_id,
                status=status,
                recipient_id=self.agent_id,
                channel_id=envelope.channel_id,
                reason=reason,
            )
        )

    async def report_failure(self, envelope: Envelope, error: Exception) -> None:
        """Tell the hub that a turn failed."""
        await self.report(envelope, error)

    def caught_up(self) -> None:
        """Ask the hub to begin again where the identity had to let go."""
        self.on_caught_up(self)
