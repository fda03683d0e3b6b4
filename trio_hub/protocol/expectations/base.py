"""
What an expectation is made of: an evaluator that says what is awaited, and a handler that says
what follows when it did not come.

Both are pure. An evaluator never looks at a clock: it names what is awaited now and by when, and
the hub sees to it that somebody looks at that moment. So a channel in which nobody says anything
costs nothing until then.
"""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

from ...ids import seconds_from_iso
from ...records import ChannelMetadata, Expectation
from ..adapters.base import ExpectedTurn
from .pulse import Pulse

__all__ = [
    "Action",
    "Awaited",
    "CloseChannel",
    "ExpectationEvaluator",
    "HideParticipants",
    "RemoveParticipants",
    "TellParticipants",
    "Violation",
    "ViolationHandler",
    "Watched",
]


_SHOWN: Final = 3
_SHOWN_CHARS: Final = 100

# Evaluators and handlers are of users' making: what they get wrong shows where they make it.
_IDS: Final = attrs.validators.deep_iterable(
    attrs.validators.instance_of(str), attrs.validators.instance_of(tuple)
)


def _finite(_instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{attribute.name} is {value!r}, and no moment that ever comes")


@attrs.frozen(kw_only=True)
class Watched:
    """
    A channel, as an evaluator sees it.

    Attributes:
        metadata: As it stands.
        state: What the channel's adapter has folded.
        turn: Whose turn it is, where the protocol knows and the channel is active.
        pulse: When what was last heard.
    """

    metadata: ChannelMetadata
    state: Any
    turn: ExpectedTurn | None
    pulse: Pulse

    @property
    def opened_at(self) -> float:
        """When the channel was opened, or while it is not, created: seconds since 1970."""
        if self.pulse.opened is not None:
            return self.pulse.opened.seconds
        return seconds_from_iso(self.metadata.created_at)


@attrs.frozen(kw_only=True)
class Awaited:
    """
    Something that should happen in time.

    Attributes:
        agent_id: Who should do it; None where that is nobody in particular.
        since: From when on it is awaited, in seconds since 1970.
        seconds: How long it may take.
        occasion: What it is about, such as the id of the envelope that wants an answer. An
            expectation fires once over an agent and an occasion; one that has passed must not
            come again.
    """

    agent_id: str | None = attrs.field(
        validator=attrs.validators.optional(attrs.validators.instance_of(str))
    )
    since: float = attrs.field(validator=_finite)
    seconds: float = attrs.field(validator=_finite)
    occasion: str = attrs.field(default="", validator=attrs.validators.instance_of(str))

    @property
    def due_at(self) -> float:
        """When it should have happened."""
        return self.since + self.seconds


class ExpectationEvaluator:
    """
    Says what an expectation of a certain name awaits. Inherit from it, and override `awaited`.

    Attributes:
        name: What an expectation calls it by.
        default_seconds: The parameter ``seconds`` where an expectation gives none.
        blames_agents: Whether it awaits something of certain agents, so that they can be hidden
            or removed.
        heeds_posts: Whether a post may be the beginning of something that it awaits. Where only
            a change of the channel's metadata is, posts need not be looked at.
    """

    name: str
    default_seconds: float = 600.0
    blames_agents: bool = True
    heeds_posts: bool = True

    def check(self, expectation: Expectation, seconds_min: float) -> None:
        """
        Refuse parameters that mean nothing. By default, there is ``seconds`` and no other.

        Args:
            seconds_min: The hub's limit.

        Raises:
            ValueError: Says what is wrong.
        """
        unknown = sorted(expectation.params.keys() - {"seconds"})
        if unknown:
            raise ValueError(f"there is no parameter {listed(unknown)}; there is seconds")
        seconds = expectation.params.get("seconds", self.default_seconds)
        is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
        if not is_number or not seconds_min <= seconds <= sys.float_info.max:
            raise ValueError(
                f"seconds is {reprlib.repr(seconds)}; it is a number, at least {seconds_min:g}, and finite"
            )

    def seconds_of(self, expectation: Expectation) -> float:
        """Return how long an expectation lets something take, at the least."""
        return float(expectation.params.get("seconds", self.default_seconds))

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        """
        Return what is awaited now, overdue or not.

        It is asked again when the first of it is due; where it is nothing, after whatever happens
        next in the channel. So what comes to be awaited later must not be due earlier than what
        is awaited already. It looks at nothing but its arguments, and changes nothing.
        """
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Violation:
    """
    An expectation that was not met. The shape is AG2's.

    Attributes:
        expectation: Which.
        violator_ids: Who did not meet it; none where it is nobody in particular.
        detail: ``elapsed_seconds`` (of the one who took longest) and ``threshold_seconds``.
    """

    expectation: Expectation
    violator_ids: tuple[str, ...] = ()
    detail: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class TellParticipants:
    """Post ``ag2.expectation.violated``, to certain participants or (None) to all."""

    agent_ids: tuple[str, ...] | None = attrs.field(
        default=None, validator=attrs.validators.optional(_IDS)
    )


@attrs.frozen
class HideParticipants:
    """Let nobody hear these agents any more: they still hear, and may not post."""

    agent_ids: tuple[str, ...] = attrs.field(validator=_IDS)


@attrs.frozen
class RemoveParticipants:
    """Have these agents take no part any more."""

    agent_ids: tuple[str, ...] = attrs.field(validator=_IDS)


@attrs.frozen
class CloseChannel:
    """Close the channel."""

    reason: str = attrs.field(validator=attrs.validators.instance_of(str))


Action = TellParticipants | HideParticipants | RemoveParticipants | CloseChannel


class ViolationHandler:
    """
    Says what follows when an expectation is not met. Inherit from it, and override `actions`.

    That it was not met is audited, counted and told to listeners in any case. For whatever is not
    an `Action`, write a listener.

    Attributes:
        name: What an expectation calls it by, in `on_violation`.
        needs_agents: Whether it makes no sense where nobody in particular is to blame.
    """

    name: str
    needs_agents: bool = False

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        """Return what is to be done, together with the note that it was. It must not wait."""
        raise NotImplementedError


def listed(names: Sequence[str]) -> str:
    """Name the first few, for people: there may be as many as go into a message."""
    named = ", ".join(
        it if len(it) <= _SHOWN_CHARS else f"{it[:_SHOWN_CHARS]}..." for it in names[:_SHOWN]
    )
    return named if len(names) <= _SHOWN else f"{named} and {len(names) - _SHOWN} more"
