"""
Who may call what: the last column of the operation table, applied.

A connection acts for the agents that are bound to it and for nobody else. A refusal never tells
an outsider whether what it asked for exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._logging import get_logger
from ..errors import AccessDeniedError
from ..wire.operations import Caller, Operation
from .channels import ChannelBook
from .operators import Operators
from .tasks import TaskBook, check_task_id

__all__ = ["authorize", "may_see_task"]

log = get_logger(__name__)

# A task may keep a checkpoint though the hub was never told of it.
_OF_UNOBSERVED_TASKS = frozenset(
    {
        "checkpoint_task",
        "read_task_checkpoint",
        "swap_task_checkpoint",
        "read_task_generation",
    }
)

_IDS = ("agent_id", "channel_id", "envelope_id")


def authorize(
    bound: Mapping[str, object],
    operation: Operation,
    params: Any,
    channels: ChannelBook,
    tasks: TaskBook,
    operators: Operators,
    *,
    wants_credentials: bool,
) -> str | None:
    """
    Let a request pass, or not.

    Args:
        bound: The ids of the agents that are bound to the connection.
        operation: What it asks for.
        params: With what.
        wants_credentials: Whether the hub admits only who has shown one.

    Returns:
        The name of the operator whose role let it pass; None where it needed none.

    Raises:
        AccessDeniedError: It may not.
    """
    subject = operation.subject(params)
    match operation.caller:
        case Caller.SELF:
            if subject not in bound:
                raise AccessDeniedError(
                    f"this connection does not act for agent {subject!r}: attach as it first"
                )
        case Caller.ANY | Caller.ARRIVING | Caller.PEER:
            # The doorstep sees to who arrives; who is a peer, the handlers ask the door.
            return None
        case Caller.ADMITTED:
            if wants_credentials and not bound:
                raise AccessDeniedError(
                    "this hub wants a credential before it tells who is there: register or "
                    "attach first"
                )
        case Caller.OPERATOR | Caller.SELF_OR_OPERATOR:
            if operation.caller is Caller.SELF_OR_OPERATOR and subject in bound:
                return None
            operator = operators.acting(bound)
            if operator is None:
                raise AccessDeniedError(_no_operator(operation, subject))
            return _noted(operator, operation, params)
        case Caller.BOUND:
            if not bound:
                raise AccessDeniedError(
                    "this connection acts for nobody yet: register or attach first"
                )
            if subject is not None and subject not in bound:
                raise AccessDeniedError(f"this connection does not act for agent {subject!r}")
        case Caller.MEMBER | Caller.MEMBER_OR_OPERATOR:
            assert subject is not None
            channel = channels.find(subject)
            if channel is None or bound.keys().isdisjoint(channel.metadata.participant_ids):
                if operation.caller is Caller.MEMBER_OR_OPERATOR:
                    operator = operators.acting(bound)
                    if operator is not None:
                        return _noted(operator, operation, params)
                raise AccessDeniedError(
                    f"no agent that this connection acts for takes part in a channel {subject!r}"
                )
        case Caller.OWNER:
            assert subject is not None
            check_task_id(subject)
            task = tasks.find(subject)
            if task is not None:
                allowed = task.owner_id in bound
            elif operation.name in _OF_UNOBSERVED_TASKS:
                writers = tasks.checkpoints.writers(subject)
                # Nobody's yet: the first to write becomes its owner.
                allowed = bool(bound) if writers is None else not bound.keys().isdisjoint(writers)
            else:
                # Refused as a stranger's would be, so that nobody can find out which ids exist.
                allowed = False
            if not allowed:
                raise AccessDeniedError(
                    f"no agent that this connection acts for owns a task {subject!r}"
                )
    return None


def _noted(operator: str, operation: Operation, params: Any) -> str:
    """Whatever an operator does on the strength of being one leaves a trace."""
    log.info("operator acts", operator=operator, op=operation.name, params=_ids_in(params))
    return operator


def _no_operator(operation: Operation, subject: str | None) -> str:
    if operation.caller is Caller.OPERATOR:
        return f"{operation.name} is for operators of this hub, and this connection has none"
    if subject is None:
        return (
            f"{operation.name} for everybody is for operators of this hub, and this connection "
            "has none: name an agent that it acts for"
        )
    return (
        f"this connection does not act for agent {subject!r}, nor for an operator of this hub: "
        "attach as one of them first"
    )


def _ids_in(params: Any) -> dict[str, str]:
    """Return what parameters say about whom and what an operation is, and nothing else of them."""
    named = ((name, getattr(params, name, None)) for name in _IDS)
    return {name: value for name, value in named if isinstance(value, str)}


def may_see_task(
    bound: Mapping[str, object], task_id: str, channels: ChannelBook, tasks: TaskBook
) -> bool:
    """Whether a task is one's own, or of a channel one is in."""
    task = tasks.find(task_id)
    if task is None:
        return False
    if task.owner_id in bound:
        return True
    channel = channels.find(task.channel_id) if task.channel_id is not None else None
    return channel is not None and not bound.keys().isdisjoint(channel.metadata.participant_ids)
