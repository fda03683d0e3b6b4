"""
Ids that increase, across restarts too, whatever the clock says.

The hub keeps a floor with the store: it lies a little ahead of the ids that are being minted, and
a hub that opens later begins there. So it is written once in a while, not for each id.
"""

from __future__ import annotations

from collections.abc import Mapping

from .._logging import get_logger
from ..errors import DamagedRecord, FrameError, StoreError
from ..ids import IdMint
from ..records import Envelope
from ..stores import KnowledgeStore, Put
from ..wire.validation import decode_strictly
from . import paths
from .committer import Committer, Ticket

__all__ = ["LeasedIds"]

log = get_logger(__name__)


class LeasedIds:
    """
    The ids of a hub.

    Args:
        mint: Makes them.
        store: Where the floor is.
        committer: Writes it.
        lease_seconds: How far ahead it lies.
    """

    def __init__(
        self, mint: IdMint, store: KnowledgeStore, committer: Committer, lease_seconds: float
    ) -> None:
        self._mint = mint
        self._store = store
        self._committer = committer
        self._lease_seconds = lease_seconds
        self._ceiling = ""

    async def load(self, lengths: Mapping[str, int]) -> list[str]:
        """
        Begin above every id that there is.

        Args:
            lengths: Of the logs, by path: where the floor cannot be read, they show it.

        Returns:
            One sentence where that was so.
        """
        try:
            floor = await self._store.read(paths.ID_FLOOR)
            if floor is not None:
                self._mint.raise_floor(floor.decode())
            if floor is not None or not lengths:
                return []
            why = "it is missing"
        except (DamagedRecord, ValueError) as error:
            why = str(error)
        for path, length in lengths.items():
            try:
                (record,) = await self._store.read_range(path, length - 1, length)
                last = decode_strictly(record, Envelope, "envelope")
                self._mint.raise_floor(last.envelope_id)
            except (DamagedRecord, FrameError, ValueError) as error:
                log.warning("the end of a log has no id", path=path, error=str(error))
        return [f"the id floor cannot be read, so ids go on from the ends of the logs: {why}"]

    def next_id(self) -> str:
        """Mint an id, and see to it that no later hub on this store can mint one below it."""
        new_id = self._mint()
        if new_id >= self._ceiling:
            # Submitted before what carries the id, so it is on disk no later.
            self.lease()
        return new_id

    def lease(self) -> Ticket:
        """Write a new floor."""
        self._ceiling = self._mint.ceiling(self._lease_seconds)
        return self._committer.submit(
            [Put(paths.ID_FLOOR, self._ceiling.encode())], on_failed=self._lose
        )

    def _lose(self, _error: StoreError) -> None:
        """Whether the ceiling is on disk is unknown, so the next id brings a new one."""
        self._ceiling = ""
