"""Where the connection stands, for everybody to read, to wait for, and to be told of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from .._logging import get_logger
from ..errors import ConnectionLost, NetworkError
from .states import ClientState, IdentityChange, Observer, StateChange

__all__ = ["StateBoard"]

_log = get_logger("trio_hub.client")


class StateBoard:
    """The state of one client. Closed is final; the first reason for it counts."""

    def __init__(self) -> None:
        self.state = ClientState.CONNECTING
        self._changed = trio.Event()
        self._closed_because: NetworkError | None = None
        self._observers: dict[int, Observer] = {}
        self._observer_count = 0

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self.state is ClientState.CLOSED

    def why_closed(self) -> NetworkError:
        """Make the error for whoever comes too late."""
        return ConnectionLost(f"the client is closed: {self._closed_because}")

    async def wait(self, *states: ClientState) -> ClientState:
        """
        Return once the connection is in one of `states`, and in which.

        Raises:
            ConnectionLost: The client is closed, and that was not waited for.

        Cancellation: changes nothing.
        """
        while self.state not in states:
            if self.closed:
                raise self.why_closed()
            await self._changed.wait()
        return self.state

    def set(self, state: ClientState, reason: NetworkError | None = None) -> bool:
        """Change the state and tell everybody. Returns False where nothing changed."""
        if state is self.state or self.closed:
            return False
        self.state = state
        if state is ClientState.CLOSED:
            self._closed_because = reason
        self._changed.set()
        self._changed = trio.Event()
        _log.info("connection", state=str(state), reason=None if reason is None else str(reason))
        self.tell(StateChange(state, reason))
        return True

    def tell(self, change: StateChange | IdentityChange) -> None:
        """Tell all observers."""
        for observer in list(self._observers.values()):
            observer(change)

    @contextmanager
    def observed_by(self, observer: Observer) -> Iterator[None]:
        """Tell `observer` of every change while the block lasts."""
        number = self._observer_count
        self._observer_count += 1
        self._observers[number] = observer
        try:
            yield
        finally:
            del self._observers[number]
