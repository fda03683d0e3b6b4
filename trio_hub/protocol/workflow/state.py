"""The folded state of a workflow channel: all that targets and conditions may look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from .packets import context_bytes

if TYPE_CHECKING:
    from .graph import TransitionGraph

__all__ = ["WorkflowState"]


@attrs.frozen
class WorkflowState:
    """
    How far a workflow has come.

    Attributes:
        graph: Its script, as it was when the channel was made.
        participant_order: The id of everybody who takes turns, the creator first.
        creator_id: Who opened the channel.
        next_speaker_id: Whose turn it is; None once it is over.
        last_speaker_id: Who had the last turn.
        last_envelope_id: What was said in it.
        turn_count: How many turns there were.
        close_reason: Why it is over, once it is.
        context_vars: What participants have set; never changed in place.
        left: Who takes no turns any more, being hidden or removed.
        context_bytes: How large `context_vars` are; see `CONTEXT_BYTES_MAX`. Counted along, for to
            look at all of them for each change would take too long.
    """

    graph: TransitionGraph
    participant_order: tuple[str, ...]
    creator_id: str
    next_speaker_id: str | None
    last_speaker_id: str | None = None
    last_envelope_id: str | None = None
    turn_count: int = 0
    close_reason: str = ""
    context_vars: Mapping[str, Any] = attrs.field(factory=dict)
    left: tuple[str, ...] = ()
    context_bytes: int = attrs.field()

    @context_bytes.default
    def _count_context(self) -> int:
        return context_bytes(self.context_vars)
