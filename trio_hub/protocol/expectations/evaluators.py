"""The evaluators that ship."""

from __future__ import annotations

from collections.abc import Iterable

from ...ids import seconds_from_iso
from ...records import ChannelState, Expectation
from .base import Awaited, ExpectationEvaluator, Watched

__all__ = ["AcksWithin", "MaxSilence", "ReplyWithin", "TurnWithin"]


class AcksWithin(ExpectationEvaluator):
    """Each invitee of a pending channel answers its invite."""

    name = "acks_within"
    default_seconds = 30.0
    heeds_posts = False

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        """Await each answer that has not come, from the channel's creation on."""
        metadata = watched.metadata
        if metadata.state is not ChannelState.PENDING:
            return
        since = seconds_from_iso(metadata.created_at)
        for agent_id in metadata.pending_acks:
            yield Awaited(
                agent_id=agent_id, since=since, seconds=self.seconds_of(expectation), occasion=""
            )


class ReplyWithin(ExpectationEvaluator):
    """Each participant says something after something was said to it."""

    name = "reply_within"

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        """Await each agent that has not spoken since the first text that was addressed to it."""
        if watched.metadata.state is not ChannelState.ACTIVE:
            return
        for agent_id, moment in watched.pulse.unanswered.items():
            yield Awaited(
                agent_id=agent_id,
                since=moment.seconds,
                seconds=self.seconds_of(expectation),
                occasion=moment.envelope_id,
            )


class MaxSilence(ExpectationEvaluator):
    """Somebody says something now and then."""

    name = "max_silence"
    default_seconds = 3600.0
    blames_agents = False

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        """Await anything, from the last that is no bookkeeping on."""
        if watched.metadata.state is not ChannelState.ACTIVE:
            return
        last = watched.pulse.content
        yield Awaited(
            agent_id=None,
            since=watched.opened_at if last is None else last.seconds,
            seconds=self.seconds_of(expectation),
            occasion="" if last is None else last.envelope_id,
        )


class TurnWithin(ExpectationEvaluator):
    """Whoever the protocol gives the turn to takes it."""

    name = "turn_within"

    def awaited(self, expectation: Expectation, watched: Watched) -> Iterable[Awaited]:
        """Await the next speaker, from the envelope on that gave it the turn."""
        turn = watched.turn
        if turn is None:
            return
        trigger_id, since = turn.triggering_envelope_id, watched.opened_at
        if trigger_id is not None:
            moment = watched.pulse.find(trigger_id)
            since = since if moment is None else moment.seconds
        yield Awaited(
            agent_id=turn.agent_id,
            since=since,
            seconds=self.seconds_of(expectation),
            occasion=trigger_id or "",
        )
