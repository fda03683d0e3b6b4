"""
The names that operators have shut out.

Of a revocation that cannot be read any more it is still known that there was one, so the name
stays shut out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..errors import AgentRevoked, ProtocolError
from ..ids import Now, iso_from_seconds
from ..records import Revocation, RevocationPage
from ..records.revocation import REVOCATION_REASON_CHARACTERS_MAX
from . import paths
from .committer import Committer
from .named_book import BookWords, NamedBook

__all__ = ["Revocations", "revoked"]

_LOST_REASON = "the record of why cannot be read any more"


class Revocations:
    """
    Who is shut out.

    Args:
        committer: Writes what changes.
        clock: Seconds since 1970.
        on_change: Called with a name and its revocation, or None once that was taken back, in the
            moment in which it is durable.
        names_max: How many names may be revoked.
    """

    def __init__(
        self,
        committer: Committer,
        clock: Now,
        on_change: Callable[[str, Revocation | None], None],
        *,
        names_max: int,
    ) -> None:
        self._clock = clock
        self._book = NamedBook(
            committer,
            root=paths.REVOCATIONS,
            record=Revocation,
            words=BookWords(
                record="revocation",
                records="revocations",
                limit="revocations_max",
                first="reinstate one",
            ),
            lost=lambda name: Revocation(name=name, reason=_LOST_REASON, by="", at=""),
            on_change=on_change,
            names_max=names_max,
        )

    def load(self, documents: Mapping[str, bytes]) -> list[str]:
        """
        Take what the store holds below ``/revocations``.

        Returns:
            One sentence for each that cannot be read.
        """
        problems, lost = self._book.load(documents)
        return problems + [
            f"the revocation of {name!r} cannot be read: it holds until an operator reinstates "
            "that name"
            for name in lost
        ]

    def __len__(self) -> int:
        return len(self._book)

    def find(self, name: str) -> Revocation | None:
        """Return the revocation of a name, or None."""
        return self._book.find(name)

    def check(self, name: str) -> None:
        """Raise `AgentRevoked` where nobody may act for whoever has a name."""
        revocation = self._book.find(name)
        if revocation is not None:
            raise revoked(revocation)

    def page(self, limit: int, after: str | None) -> RevocationPage:
        """Return revocations sorted by name: so many at most, behind one."""
        shown, after = self._book.page(limit, after)
        return RevocationPage(revocations=shown, after=after)

    async def revoke(
        self, name: str, reason: str, by: str, check: Callable[[], None]
    ) -> Revocation:
        """
        Shut a name out. Durable, and done, when it returns.

        Args:
            check: Whether whoever wants it still may; see `NamedBook.put`.

        Raises:
            ProtocolError: It is no name, there is no reason or too long a one, or too many names
                are revoked.
            StoreError: It could not be kept, as far as is known.

        Cancellation: it may or may not be revoked.
        """
        if not reason.strip() or len(reason) > REVOCATION_REASON_CHARACTERS_MAX:
            raise ProtocolError(
                f"a revocation has a reason, of at most {REVOCATION_REASON_CHARACTERS_MAX} "
                "characters: the agent is told, and the audit log keeps it"
            )
        revocation = Revocation(name=name, reason=reason, by=by, at=iso_from_seconds(self._clock()))
        await self._book.put(name, revocation, check=check)
        return revocation

    async def reinstate(self, name: str) -> Revocation | None:
        """
        Let whoever has a name come again. Durable when it returns.

        Returns:
            What was taken back; None where the name was not revoked.

        Raises:
            ProtocolError: It is no name.
            StoreError: It could not be kept, as far as is known.

        Cancellation: it may or may not be reinstated.
        """
        return await self._book.put(name, None)


def revoked(revocation: Revocation) -> AgentRevoked:
    """Return what is said to whoever would act for a revoked name."""
    return AgentRevoked(
        f"an operator of this hub has revoked {revocation.name!r} ({revocation.reason}): nobody "
        "may act for it until an operator reinstates it, so ask them before you try again"
    )
