"""That nobody may act for an agent any more, said by an operator of its hub."""

from __future__ import annotations

import attrs

__all__ = ["REVOCATION_REASON_CHARACTERS_MAX", "Revocation", "RevocationPage"]

#: How long the reason of a revocation may be: a sentence or two for whoever is shut out.
REVOCATION_REASON_CHARACTERS_MAX = 500


@attrs.frozen(kw_only=True)
class Revocation:
    """
    Shuts out whoever has a name, until an operator takes it back.

    Attributes:
        name: Of the agent, whether or not anybody has come under it yet.
        reason: Why; the agent is told.
        by: Who said so: an operator's name, or "hub".
        at: When; ISO 8601, in UTC.
    """

    name: str
    reason: str
    by: str
    at: str


@attrs.frozen(kw_only=True)
class RevocationPage:
    """Revocations, sorted by name; go on behind `after`, until that is null."""

    revocations: tuple[Revocation, ...]
    after: str | None = None
