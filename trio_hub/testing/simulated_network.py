"""
`SimulatedNetwork`: connections that take time, break, hang and lie, as a seed decides.

It stands where sockets would: a hub is served on it, clients reach the hub by links of it, and
both sides run their real code. Between them lies a wire of its own for each connection, on which
messages travel for a while, in order, as over TCP. What can go wrong is what goes wrong there:

- `cut`: the connection ends; a part of what was on its way still arrives, the rest never does;
- ``cut(silently=True)``: the same, and neither side is told. Only heartbeats find out;
- `part` and `join`: nothing flows and nobody can connect, until the cable is put back;
- `duplicates`: now and then a message comes out twice, the second time behind later ones;
- leaving `serving`: the hub is gone, with all its connections.

::

    network = SimulatedNetwork(random.Random(seed))
    async with Hub.open(store) as hub, network.serving(hub):
        async with HubClient(network.link("alice's machine")) as hub_client:
            ...
            network.cut("alice's machine")

All chance comes from the generator it is given and all time from Trio's clock, so under a
`trio.testing.MockClock` a seed replays. Use `FaultyLink` where a test wants one certain fault.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from .._nursery import open_plain_nursery
from ..errors import ConnectionLost
from ..links import LinkEndpoint, LinkLimits, Side
from ..links.base import EndpointServer
from ..wire.frames import Dialect

__all__ = ["NetworkLink", "SimulatedNetwork"]

# Messages that may be under way in each direction of a wire, in place of a socket's buffers.
_MESSAGES_MAX = 32

# Messages arrive on the tick: so it happens that several things happen at once, and the scheduler
# decides which is first. That a machine is woken for many of them together makes runs cheaper too.
_TICK_SECONDS = 0.002


class SimulatedNetwork:
    """
    A network with one hub on it and any number of machines.

    Args:
        rng: Decides how long a message takes, and what survives a cut.
        latency_seconds: Shortest and longest time that a message is under way.
        limits: Of both ends of every connection.
        dialect: What is spoken.
        eager: Whether messages are sent without a wait where that is possible, as over the
            faster transport. Cheaper, too.
        duplicates: How likely a message arrives twice. No socket does that; a peer may that
            sends again what it believes to be lost.

    Attributes:
        failures: What `serve` of a hub has raised; it should never raise anything.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        latency_seconds: tuple[float, float] = (0.0002, 0.02),
        limits: LinkLimits | None = None,
        dialect: Dialect = Dialect.BATCHED,
        eager: bool = False,
        duplicates: float = 0.0,
    ) -> None:
        self.failures: list[Exception] = []
        self._rng = rng
        self._latency_seconds = latency_seconds
        self._limits = limits if limits is not None else LinkLimits()
        self._dialect = dialect
        self._eager = eager
        self._duplicates = duplicates
        self._hub: tuple[EndpointServer, trio.Nursery] | None = None
        # In the order of connecting, so that a run is the same each time.
        self._wires: dict[_Wire, None] = {}
        self._parted: set[str] = set()

    def __repr__(self) -> str:
        hub = "a hub" if self._hub is not None else "no hub"
        return f"<SimulatedNetwork with {hub} and {len(self._wires)} connections>"

    @asynccontextmanager
    async def serving(self, hub: EndpointServer) -> AsyncIterator[None]:
        """
        Let machines connect to `hub` while the block lasts.

        Leaving it breaks all connections, as when a process is killed; a hub that is to say
        goodbye does so before (`Hub.drain`). The other ends are told; a machine that lost its
        power would not tell them: `cut` silently first.
        """
        if self._hub is not None:
            raise RuntimeError("there is a hub on this network already")
        async with open_plain_nursery() as nursery:
            self._hub = (hub, nursery)
            try:
                yield
            finally:
                self._hub = None
                # First, so that nothing is said goodbye to by whoever is cancelled now.
                for wire in list(self._wires):
                    self._break(wire)
                nursery.cancel_scope.cancel()

    def link(self, machine: str) -> NetworkLink:
        """Return the way from `machine` to the hub: give it to a `HubClient`."""
        return NetworkLink(self, machine)

    def connections_of(self, machine: str) -> int:
        """Return how many connections of `machine` somebody believes in."""
        return sum(1 for _ in self._of(machine))

    def cut(self, machine: str, *, silently: bool = False) -> bool:
        """
        End the connections of `machine`; False where it has none.

        Args:
            silently: Tell neither side: what they send goes nowhere.
        """
        wires = [wire for wire in self._of(machine) if not wire.broken]
        for wire in wires:
            if silently:
                wire.swallow()
            else:
                self._break(wire)
        return bool(wires)

    def part(self, machine: str) -> None:
        """Pull the cable of `machine`: nothing flows, nothing is lost, nobody can connect."""
        self._parted.add(machine)
        for wire in self._of(machine):
            wire.hold()

    def join(self, machine: str) -> None:
        """Put the cable of `machine` back. What was held goes on its way."""
        self._parted.discard(machine)
        for wire in self._of(machine):
            wire.release()

    # For the link

    @asynccontextmanager
    async def connect(self, machine: str) -> AsyncIterator[LinkEndpoint]:
        """Open a connection; see `Link.connect`."""
        await trio.sleep(2 * self._latency())
        if self._hub is None or machine in self._parted:
            raise ConnectionLost(f"cannot reach the hub from {machine!r}")
        hub, nursery = self._hub
        wire = _Wire(machine, self._dialect, self._latency, self._comes_again, eager=self._eager)
        self._wires[wire] = None
        nursery.start_soon(self._serve, hub, wire)
        endpoint = LinkEndpoint(wire.client_end, side=Side.CLIENT, limits=self._limits)
        try:
            yield endpoint
        finally:
            await endpoint.aclose()
            self._forget_if_over(wire)

    async def _serve(self, hub: EndpointServer, wire: _Wire) -> None:
        endpoint = LinkEndpoint(
            wire.hub_end,
            side=Side.HUB,
            limits=self._limits,
            endpoint_id=f"{self._rng.getrandbits(64):016x}",
        )
        try:
            await hub.serve(endpoint)
        except Exception as error:
            self.failures.append(error)
        finally:
            await endpoint.aclose()
            self._forget_if_over(wire)

    # Inside

    def _latency(self) -> float:
        return self._rng.uniform(*self._latency_seconds)

    def _comes_again(self) -> bool:
        return self._duplicates > 0 and self._rng.random() < self._duplicates

    def _of(self, machine: str) -> Iterator[_Wire]:
        return (wire for wire in self._wires if wire.machine == machine)

    def _break(self, wire: _Wire) -> None:
        for pipe in (wire.up, wire.down):
            pipe.end(ConnectionLost("the connection broke"), self._rng.randint(0, pipe.under_way))
        wire.broken = True

    def _forget_if_over(self, wire: _Wire) -> None:
        if wire.client_end.closed and wire.hub_end.closed:
            self._wires.pop(wire, None)


class NetworkLink:
    """How a machine reaches the hub; `SimulatedNetwork.link` makes them."""

    def __init__(self, network: SimulatedNetwork, machine: str) -> None:
        self._network = network
        self._machine = machine

    def __repr__(self) -> str:
        return f"<NetworkLink from {self._machine!r}>"

    def connect(self) -> AbstractAsyncContextManager[LinkEndpoint]:
        """
        Open a connection; see `Link.connect`.

        Cancellation: this end is closed, and the other is told after a while.
        """
        return self._network.connect(self._machine)


class _Pipe:
    """One direction of a wire."""

    def __init__(self, latency: Callable[[], float], comes_again: Callable[[], bool]) -> None:
        self._latency = latency
        self._comes_again = comes_again
        # Goes out once more, behind the next message.
        self._again: bytes | None = None
        self._messages: deque[tuple[float, bytes]] = deque()
        # Taken from the end that sends, and not on its way yet.
        self._to_send: deque[bytes] = deque()
        self._last_due = 0.0
        self._ended: ConnectionLost | None = None
        # The end that reads has closed; it alone is to know where the wire swallows everything.
        self._unread = False
        self.is_held = False
        self.swallows = False
        self._changed = trio.Event()
        # In which somebody waits to receive.
        self._reader: trio.CancelScope | None = None

    @property
    def under_way(self) -> int:
        """How many messages were sent and not received."""
        return len(self._messages)

    def wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    def _arrival_of_what_is_sent_now(self) -> float:
        return math.ceil((trio.current_time() + self._latency()) / _TICK_SECONDS) * _TICK_SECONDS

    def end(self, reason: ConnectionLost, arriving: int | None = None) -> None:
        """Nothing more goes in; of what is under way, the first `arriving` still come out."""
        if self._ended is None:
            self._ended = reason
            while arriving is not None and len(self._messages) > arriving:
                self._messages.pop()
        self.wake()

    def stop_reading(self, farewell: ConnectionLost) -> None:
        """Nothing comes out any more."""
        self._unread = True
        self.end(farewell, 0)

    async def send(self, messages: Sequence[bytes]) -> None:
        self._to_send.extend(messages)
        try:
            while not self._send_now():
                await self._changed.wait()
        finally:
            await trio.lowlevel.checkpoint()

    def send_nowait(self, messages: Sequence[bytes]) -> bool:
        """Return whether all is on its way; if not, `send` nothing to wait for the rest."""
        self._to_send.extend(messages)
        return self._send_now()

    def _send_now(self) -> bool:
        """Send what there is room for; return whether that was all."""
        if self._ended is not None and not (self.swallows or self.is_held):
            self._to_send.clear()
            raise ConnectionLost(self._ended.message)
        while self._to_send:
            if self.swallows:
                self._to_send.clear()
            elif len(self._messages) >= _MESSAGES_MAX:
                return False
            elif self._ended is not None:
                self._to_send.clear()
            else:
                message, again = self._to_send.popleft(), self._again
                self._again = message if self._comes_again() else None
                self._put(message)
                if again is not None:
                    self._put(again)
        return True

    def _put(self, message: bytes) -> None:
        self._last_due = max(self._last_due, self._arrival_of_what_is_sent_now())
        self._messages.append((self._last_due, message))
        if len(self._messages) == 1 and self._reader is not None and not self.is_held:
            self._reader.deadline = self._last_due

    async def receive(self) -> bytes:
        while True:
            if self._unread:
                await trio.lowlevel.checkpoint()
                raise ConnectionLost("closed by this side")
            wait_until = math.inf
            if not (self.swallows or self.is_held):
                if self._messages:
                    wait_until = self._messages[0][0]
                    if wait_until <= trio.current_time():
                        await trio.lowlevel.checkpoint_if_cancelled()
                        _, message = self._messages.popleft()
                        if len(self._messages) == _MESSAGES_MAX - 1:
                            self.wake()
                        return message
                elif self._ended is not None:
                    await trio.lowlevel.checkpoint()
                    raise ConnectionLost(self._ended.message)
            # Whoever sends to an empty wire only says when to look again.
            with trio.CancelScope(deadline=wait_until) as self._reader:
                await self._changed.wait()
            self._reader = None

    async def crossed(self) -> None:
        """Return when something that is sent now would have come out at the other end."""
        due = max(self._last_due, self._arrival_of_what_is_sent_now())
        while True:
            changed = self._changed
            if self.swallows or self.is_held:
                await changed.wait()
            elif self._ended is not None:
                await trio.lowlevel.checkpoint()
                raise ConnectionLost(self._ended.message)
            elif due <= trio.current_time():
                await trio.lowlevel.checkpoint()
                return
            else:
                with trio.move_on_at(due):
                    await changed.wait()


class _End:
    """A `MessageStream`: one end of a wire."""

    def __init__(self, dialect: Dialect, peer: str, out: _Pipe, into: _Pipe, wire: _Wire) -> None:
        self.closed = False
        self._dialect = dialect
        self._peer = peer
        self._out = out
        self._into = into
        self._wire = wire

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    @property
    def peer(self) -> str:
        return self._peer

    async def send_messages(self, messages: Sequence[bytes]) -> None:
        self._check_open()
        await self._out.send(messages)

    async def receive_message(self) -> str | bytes:
        self._check_open()
        return (await self._into.receive()).decode()

    async def ping(self) -> None:
        self._check_open()
        await self._wire.round_trip()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        if not self.closed:
            self.closed = True
            farewell = ConnectionLost(f"closed by the peer: {code} {reason}".rstrip())
            # The other end still reads what is under way; here nobody reads any more.
            self._out.end(farewell)
            self._into.stop_reading(farewell)
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self.closed:
            raise ConnectionLost("closed by this side")


class _EagerEnd(_End):
    """... that can send without a wait, as the faster transport does (`EagerStream`)."""

    def send_nowait(self, messages: Sequence[bytes]) -> bool:
        self._check_open()
        return self._out.send_nowait(messages)


class _Wire:
    """Two pipes, and the ends of them."""

    def __init__(
        self,
        machine: str,
        dialect: Dialect,
        latency: Callable[[], float],
        comes_again: Callable[[], bool],
        *,
        eager: bool,
    ) -> None:
        self.machine = machine
        self.broken = False
        # Up is towards the hub.
        self.up, self.down = _Pipe(latency, comes_again), _Pipe(latency, comes_again)
        end = _EagerEnd if eager else _End
        self.client_end = end(dialect, "the hub", self.up, self.down, self)
        self.hub_end = end(dialect, machine, self.down, self.up, self)

    def swallow(self) -> None:
        for pipe in (self.up, self.down):
            pipe.swallows = True
            pipe.wake()

    def hold(self) -> None:
        self.up.is_held = self.down.is_held = True

    def release(self) -> None:
        for pipe in (self.up, self.down):
            pipe.is_held = False
            pipe.wake()

    async def round_trip(self) -> None:
        """Return once both directions have shown that they work."""
        for pipe in (self.up, self.down):
            await pipe.crossed()
