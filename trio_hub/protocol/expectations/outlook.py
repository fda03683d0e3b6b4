"""
The outlook of a channel: which of its expectations are overdue now, and when to look again.

This is the only place that compares a deadline with the time.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from ...records import Expectation
from .base import Awaited, Violation, Watched
from .firings import Firings
from .registry import ExpectationRegistry

__all__ = ["Outlook", "Overdue", "look"]


@attrs.frozen
class Overdue:
    """
    One expectation that was not met.

    Attributes:
        index: Which one of the channel's.
        subjects: Over whom it fires, and on what occasion.
        violation: The same, as it is told.
    """

    index: int
    subjects: tuple[tuple[str | None, str], ...]
    violation: Violation


@attrs.frozen
class Outlook:
    """
    What there is to do about a channel's expectations, and when.

    Attributes:
        overdue: What is to fire now, in the order of the manifest.
        next_at: When to look again; None where nothing is awaited that has not fired.
        listens: Whether to look again after whatever happens next, because there is an
            expectation that awaits nothing now.
    """

    overdue: tuple[Overdue, ...] = ()
    next_at: float | None = None
    listens: bool = False


def look(
    watched: Watched,
    firings: Firings,
    registry: ExpectationRegistry,
    now: float,
    on_broken: Callable[[Expectation, Exception], None],
) -> Outlook:
    """
    Look at a channel.

    Args:
        watched: The channel.
        firings: What has fired in it.
        registry: Knows the evaluators.
        now: Seconds since 1970.
        on_broken: Told of an expectation whose evaluator is not there, raises something or
            returns something else. It awaits nothing then, and costs no other one.
    """
    overdue: list[Overdue] = []
    next_at: float | None = None
    listens = False
    for index, expectation in enumerate(watched.metadata.manifest.expectations):
        try:
            evaluator = registry.evaluator(expectation.name)
            registry.handler(expectation.on_violation)
            awaited = _of_those_meant(
                expectation, list(map(_checked, evaluator.awaited(expectation, watched))), watched
            )
        except Exception as error:
            on_broken(expectation, error)
            continue
        open_ones = [it for it in awaited if not firings.has_fired(index, it.agent_id, it.occasion)]
        late = [it for it in open_ones if it.due_at <= now]
        early = [it.due_at for it in open_ones if it.due_at > now]
        if late:
            overdue.append(_overdue(index, expectation, late, now))
        if early:
            soonest = min(early)
            next_at = soonest if next_at is None else min(next_at, soonest)
        elif evaluator.heeds_posts:
            listens = True
    return Outlook(tuple(overdue), next_at, listens)


def _checked(it: object) -> Awaited:
    if not isinstance(it, Awaited):
        raise TypeError(f"{it!r} is not Awaited")
    return it


def _of_those_meant(
    expectation: Expectation, awaited: list[Awaited], watched: Watched
) -> list[Awaited]:
    """
    Leave out what is awaited of those that it is not about, who are hidden or take no part.

    As many as a channel has members may be late, and as many named; so none is looked for in a list.
    """
    wanted = {it.agent_id for it in awaited if it.agent_id is not None}.difference(
        watched.pulse.hidden
    )
    if not wanted:
        return [it for it in awaited if it.agent_id is None]
    named = None if expectation.applies_to is None else frozenset(expectation.applies_to)
    meant = {
        it.agent_id
        for it in watched.metadata.participants
        if it.agent_id in wanted and (named is None or it.agent_id in named or it.role in named)
    }
    return [it for it in awaited if it.agent_id is None or it.agent_id in meant]


def _overdue(index: int, expectation: Expectation, late: list[Awaited], now: float) -> Overdue:
    worst = min(late, key=lambda it: it.due_at)
    return Overdue(
        index,
        tuple((it.agent_id, it.occasion) for it in late),
        Violation(
            expectation=expectation,
            violator_ids=tuple(it.agent_id for it in late if it.agent_id is not None),
            detail={
                "elapsed_seconds": round(now - worst.since, 3),
                "threshold_seconds": worst.seconds,
            },
        ),
    )
