"""
Which write of a task's state counts, and who may go on with the task: decided, not carried out.

Every write has a number, its *generation*. Whoever gives the number of the state that it went on
from is refused where somebody else has written meanwhile; whoever gives none overwrites. A *lease*
is the right of one worker to write, for a while; a change of hands takes a number too, so that
the one before cannot write any more, whatever it believes.
"""

from __future__ import annotations

import attrs

from ..errors import Conflict

__all__ = ["CheckpointMark", "after_lease", "after_release", "after_write", "is_held_by_another"]


@attrs.frozen(kw_only=True)
class CheckpointMark:
    """
    What is kept beside a state.

    Attributes:
        generation: The number of the last write, or change of hands; 0 before the first.
        key: The idempotency key of that write, where it had one.
        holder: Whose lease it is, or was if it has run out; None where it was given back.
        lease_seconds: How long it lasts when it is not renewed.
    """

    generation: int = 0
    key: str | None = None
    holder: str | None = None
    lease_seconds: float = 0.0


def is_held_by_another(
    mark: CheckpointMark, holder: str | None, *, until: float, now: float
) -> bool:
    """Whether somebody other than `holder` has a lease that lasts `until`, and it is before that."""
    return mark.holder is not None and mark.holder != holder and now < until


def after_write(
    task_id: str, mark: CheckpointMark, *, generation: int | None, key: str | None
) -> CheckpointMark:
    """
    Return the mark of one more write; the same one where this write is there already.

    Args:
        generation: What the writer went on from; None is whatever there is.
        key: By which it is known, should it be told again.

    Raises:
        Conflict: It went on from something else.
    """
    if generation is not None and generation != mark.generation:
        if key is not None and key == mark.key and generation + 1 == mark.generation:
            return mark
        raise Conflict(
            f"the state of task {task_id} is of generation {mark.generation}, and this write goes "
            f"on from {generation}: somebody else has it now; read it again before you go on"
        )
    return attrs.evolve(mark, generation=mark.generation + 1, key=key)


def after_lease(mark: CheckpointMark, holder: str, seconds: float) -> CheckpointMark:
    """Return the mark once `holder` has the lease; the same one where nothing is new in it."""
    if mark.holder == holder:
        return attrs.evolve(mark, lease_seconds=seconds) if seconds != mark.lease_seconds else mark
    return CheckpointMark(generation=mark.generation + 1, holder=holder, lease_seconds=seconds)


def after_release(mark: CheckpointMark, holder: str) -> CheckpointMark:
    """Return the mark once `holder` has given the lease back; the same one where it had none."""
    return attrs.evolve(mark, holder=None) if mark.holder == holder else mark
