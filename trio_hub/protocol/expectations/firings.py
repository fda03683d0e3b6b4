"""What has come of a channel's expectations, as it is kept beside the channel's metadata."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from ...records import Participant

__all__ = ["Firings"]


@attrs.frozen(kw_only=True)
class Firings:
    """
    Which expectations of a channel have fired, over whom and what.

    Kept in the same batch as what followed from it, so that nothing fires twice over the same
    thing, wherever a hub is killed. It does not grow with the channel: of each expectation and
    agent, the latest occasion is enough, because occasions follow one upon the other.

    Attributes:
        fired: "<index of the expectation>/<agent id, or nothing>": the occasion.
        removed: Who took part once. A log is folded from its beginning, when they still did.
        quiet_at: The length of the log at which nothing was awaited any more: as long as it is
            that long, a hub that opens need not look. None where something was.
    """

    fired: dict[str, str] = attrs.field(factory=dict)
    removed: tuple[Participant, ...] = ()
    quiet_at: int | None = None

    def has_fired(self, index: int, agent_id: str | None, occasion: str) -> bool:
        """Whether an expectation has fired over an agent (None: the channel) on an occasion."""
        return self.fired.get(_key(index, agent_id)) == occasion

    def with_fired(self, index: int, subjects: Iterable[tuple[str | None, str]]) -> Firings:
        """Return the same with an expectation fired over these agents, on these occasions."""
        latest = {_key(index, agent_id): occasion for agent_id, occasion in subjects}
        return attrs.evolve(self, fired={**self.fired, **latest})


def _key(index: int, agent_id: str | None) -> str:
    return f"{index}/{agent_id or ''}"
