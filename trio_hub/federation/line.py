"""
The line to one peer: called, kept, and called again.

It belongs to this hub; what the peer has to say comes by a line of its own. When it is up, the
route of the peer's link is given what it is owed; when it is down, that waits in the logs.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from .._logging import get_logger
from ..client import ClientState, HubClient, Turn
from ..errors import (
    ConnectionLost,
    DamagedRecord,
    FrameError,
    NetworkError,
    ProtocolError,
    StoreError,
    TooLarge,
)
from ..hub import ProxyRoute, paths
from ..ids import Now
from ..protocol.backoff import Backoff
from ..protocol.federation import DialState, login_name
from ..records import Passport
from ..stores import KnowledgeStore
from ..wire.validation import decode_strictly, encode
from .peer import Peer

__all__ = ["Line"]

log = get_logger(__name__)


class Line:
    """
    One peer's line.

    Args:
        me: The name of this hub.
        peer: Whom to call.
        store: Where it is kept when to call again.
        talk: Does what is to be done while the line is up: raises where it is of no use.
        backoff: The waits between calls that fail.
        request_timeout: Seconds after which a peer that does not answer counts as gone.

    Attributes:
        is_up: Whether the peer can be asked.
        since: Since when, in seconds since 1970; None before the first call.
        problem: Why it is down, or "".
    """

    def __init__(
        self,
        me: str,
        peer: Peer,
        store: KnowledgeStore,
        talk: Callable[[trio.TaskStatus[None]], Awaitable[None]],
        *,
        clock: Now,
        rng: random.Random,
        backoff: Backoff,
        request_timeout: float,
    ) -> None:
        self.peer = peer
        self.route: ProxyRoute | None = None
        self.since: float | None = None
        self.problem = ""
        self.dial = DialState()
        self._login = login_name(me)
        self._store = store
        self._talk = talk
        self._clock = clock
        self._rng = rng
        self._backoff = backoff
        self._request_timeout = request_timeout
        self._client: HubClient | None = None
        self._scope = trio.CancelScope()
        self._changed = trio.Event()
        self._log = log.bind(hub=peer.name)

    @property
    def is_up(self) -> bool:
        """Whether the peer can be asked."""
        return self._client is not None and self.route is not None and self.route.is_up

    async def wait(self, *, up: bool) -> None:
        """Return once the line is up, or down. Cancellation: changes nothing."""
        while self.is_up is not up:
            await self._changed.wait()

    async def ask(self, op: str, params: object, result: Any) -> Any:
        """
        Ask the peer.

        Raises:
            ConnectionLost: It was not asked, or nobody knows; the line is being called anew.
            ProtocolError: It does not understand what it was asked.
            TooLarge: It was not asked, for there is too much of it.

        Cancellation: it may or may not have been done.
        """
        client = self._client
        if client is None:
            raise ConnectionLost(f"hub {self.peer.name!r} cannot be reached now")
        try:
            return await client.request(op, params, result)
        except (TooLarge, ProtocolError):
            raise
        except (NetworkError, trio.TooSlowError) as error:
            # What it refuses stands in its answers. So this is about the line.
            self._give_up(client, error)
            raise ConnectionLost(f"hub {self.peer.name!r} did not answer: {error}") from error

    async def run(self) -> None:
        """Call, again and again, until cancelled."""
        self.dial = await self._load()
        while True:
            await trio.sleep(self.dial.wait(self._clock(), self._backoff))
            try:
                await self._call()
            except (NetworkError, trio.TooSlowError) as error:
                self.problem = f"{type(error).__name__}: {error}"
            self.dial = self.dial.failed(self._clock(), self._backoff, self._rng)
            self._log.info("hub not reached", failures=self.dial.failures, reason=self.problem)
            await self._keep()

    async def _call(self) -> None:
        passport = Passport(name=self._login, kind="remote_agent", auth=self.peer.login)
        client = HubClient(
            self.peer.link,
            reconnect=None,
            request_timeout=self._request_timeout,
            rng=self._rng,
        )
        with trio.CancelScope() as self._scope:
            async with client:
                await client.attach(_nobody, self._login, passport=passport, since_envelope_id=None)
                self._client = client
                try:
                    async with _nursery_of_talk() as nursery:
                        await nursery.start(self._talk)
                        assert self.route is not None
                        await self.route.resume()
                        await self._went_up()
                        await client.wait_state(ClientState.CLOSED)
                        nursery.cancel_scope.cancel()
                finally:
                    self._went_down()
        if self.problem == "":
            self.problem = "the connection was lost"

    async def _went_up(self) -> None:
        self.problem = ""
        self.since = self._clock()
        self._tell()
        self._log.info("hub reached")
        if self.dial.failures:
            self.dial = DialState()
            await self._keep()

    def _went_down(self) -> None:
        self._client = None
        if self.route is not None:
            self.route.pause()
        self.since = self._clock()
        self._tell()

    def _give_up(self, client: HubClient, error: Exception) -> None:
        if client is self._client:
            self.problem = f"{type(error).__name__}: {error}"
            self._client = None
            self._scope.cancel()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def _load(self) -> DialState:
        try:
            data = await self._store.read(paths.dial(self.peer.name))
            return DialState() if data is None else decode_strictly(data, DialState, "dial state")
        except (DamagedRecord, FrameError, StoreError) as error:
            self._log.warning("calls begin anew", reason=str(error))
            return DialState()

    async def _keep(self) -> None:
        path = paths.dial(self.peer.name)
        try:
            if self.dial.failures:
                await self._store.write(path, encode(self.dial))
            else:
                await self._store.delete(path)
        except StoreError as error:
            # Then a restart calls sooner than it should.
            self._log.warning("not kept when to call again", reason=str(error))


async def _nobody(_turn: Turn) -> None:
    """The login of a hub takes part in no channel."""


@asynccontextmanager
async def _nursery_of_talk() -> AsyncIterator[trio.Nursery]:
    """Open a nursery; of several who find that the line is of no use, one says so."""
    try:
        async with trio.open_nursery() as nursery:
            yield nursery
    except BaseExceptionGroup as group:
        expected, others = group.split((NetworkError, trio.TooSlowError))
        if others is not None or expected is None:
            raise
        error: BaseException = expected
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
    else:
        return
    raise error
