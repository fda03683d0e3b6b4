"""How a hub comes to its end, and who may wish for it, in the same process."""

from __future__ import annotations

from .channels import ChannelBook
from .committer import Committer
from .deliveries import Deliveries
from .failed_handshakes import FailedHandshakes
from .gate import Gate
from .reception import Reception
from .snapshots import Snapshots

__all__ = ["DrainApi"]


class DrainApi:
    """The part of `Hub` that is about its end. `Hub` fills in what it works with."""

    channels: ChannelBook
    _gate: Gate
    _committer: Committer
    _deliveries: Deliveries
    _failed_handshakes: FailedHandshakes
    _reception: Reception
    _snapshots: Snapshots

    async def drain(self) -> None:
        """
        Take nothing new, tell clients to come back, write what was accepted. Idempotent.

        Cancellation: what was accepted and not answered yet may or may not be kept, as after a
        crash; what was answered is.
        """
        self._gate.close()
        self._reception.say_goodbye()
        self._deliveries.flush_cursors()
        self._failed_handshakes.flush()
        await self._snapshots.write_all(list(self.channels))
        await self._committer.flushed()

    async def ask_to_drain(self) -> None:
        """
        Have the hub drain by itself, right after this returns: for an operator, who would not
        hear of a drain that this waits for. What was done until then is durable.

        Cancellation: it is not asked to.
        """
        await self._committer.caught_up()
        self._gate.closing.set()

    async def wait_draining(self) -> None:
        """Return once the hub drains, or is about to, whoever wished for that."""
        await self._gate.closing.wait()

    async def _drain_when_asked(self) -> None:
        await self._gate.closing.wait()
        await self.drain()
