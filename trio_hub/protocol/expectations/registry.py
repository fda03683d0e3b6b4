"""Which evaluators and handlers a hub knows, and which expectations it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ...errors import NotFoundError, ProtocolError
from ...records import ChannelMetadata, Expectation, ParticipantRole
from .base import ExpectationEvaluator, ViolationHandler, listed
from .evaluators import AcksWithin, MaxSilence, ReplyWithin, TurnWithin
from .handlers import Audit, AutoClose, Hide, NotifyChannel, Remove, Warn

__all__ = ["ExpectationRegistry"]


class ExpectationRegistry:
    """
    Evaluators and handlers by name; those that ship are always there.

    Args:
        evaluators: More. A later one of the same name takes the place of the earlier.
        handlers: More, likewise.

    Raises:
        TypeError: One does not inherit from its base class.
    """

    def __init__(
        self,
        evaluators: Iterable[ExpectationEvaluator] = (),
        handlers: Iterable[ViolationHandler] = (),
    ) -> None:
        self._evaluators: dict[str, ExpectationEvaluator] = {}
        self._handlers: dict[str, ViolationHandler] = {}
        for evaluator in (AcksWithin(), ReplyWithin(), MaxSilence(), TurnWithin(), *evaluators):
            if not isinstance(evaluator, ExpectationEvaluator):
                raise TypeError(
                    f"{evaluator!r} is no evaluator: inherit from trio_hub.ExpectationEvaluator"
                )
            self._evaluators[evaluator.name] = evaluator
        for handler in (
            *(Audit(), Warn(), NotifyChannel(), Hide(), Remove(), AutoClose()),
            *handlers,
        ):
            if not isinstance(handler, ViolationHandler):
                raise TypeError(
                    f"{handler!r} is no handler: inherit from trio_hub.ViolationHandler"
                )
            self._handlers[handler.name] = handler

    def evaluator(self, name: str) -> ExpectationEvaluator:
        """Return an evaluator, or raise `NotFoundError` naming those that there are."""
        found = self._evaluators.get(name)
        if found is None:
            raise NotFoundError(
                f"no expectation {listed([name])!r}; this hub knows {', '.join(sorted(self._evaluators))}"
            )
        return found

    def handler(self, name: str) -> ViolationHandler:
        """Return a handler, or raise `NotFoundError` naming those that there are."""
        found = self._handlers.get(name)
        if found is None:
            raise NotFoundError(
                f"nothing called {listed([name])!r} can follow when an expectation is not met; this hub "
                f"knows {', '.join(sorted(self._handlers))}"
            )
        return found

    def check(
        self, metadata: ChannelMetadata, *, expectations_max: int, seconds_min: float
    ) -> None:
        """
        Refuse a channel whose expectations this hub cannot look after.

        Args:
            expectations_max: How many a channel may have.
            seconds_min: The shortest time that one may set.

        Raises:
            NotFoundError: It has no such evaluator or handler.
            ProtocolError: Something else about one is wrong.
        """
        expectations = metadata.manifest.expectations
        if len(expectations) > expectations_max:
            raise ProtocolError(
                f"{len(expectations)} expectations are more than the {expectations_max} that a "
                "channel may have"
            )
        for expectation in expectations:
            evaluator = self.evaluator(expectation.name)
            handler = self.handler(expectation.on_violation)
            try:
                evaluator.check(expectation, seconds_min)
                if handler.needs_agents and not evaluator.blames_agents:
                    raise ValueError(
                        f"it blames nobody in particular, so {handler.name!r} has nobody to act on"
                    )
                _check_applies_to(expectation, metadata, evaluator)
            except ValueError as error:
                raise ProtocolError(f"the expectation {expectation.name!r}: {error}") from None


def _check_applies_to(
    expectation: Expectation, metadata: ChannelMetadata, evaluator: ExpectationEvaluator
) -> None:
    if expectation.applies_to is None:
        return
    if not evaluator.blames_agents:
        raise ValueError("it is about the channel as a whole, so it takes no applies_to")
    known = {*metadata.participant_ids, *ParticipantRole}
    if len(expectation.applies_to) > len(known):
        raise ValueError(
            f"applies_to has {len(expectation.applies_to)} names, and there are {len(known)} "
            "participants and roles"
        )
    strangers = [one for one in expectation.applies_to if one not in known]
    if strangers:
        raise ValueError(f"applies_to names {listed(strangers)}: neither a participant nor a role")
    twice = [one for one, count in Counter(expectation.applies_to).items() if count > 1]
    if twice:
        raise ValueError(f"applies_to names {listed(twice)} more than once")
