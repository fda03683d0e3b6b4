"""Expectations of channels: what is awaited, by when, and what follows when it does not come."""

from .base import (
    Action as Action,
    Awaited as Awaited,
    CloseChannel as CloseChannel,
    ExpectationEvaluator as ExpectationEvaluator,
    HideParticipants as HideParticipants,
    RemoveParticipants as RemoveParticipants,
    TellParticipants as TellParticipants,
    Violation as Violation,
    ViolationHandler as ViolationHandler,
    Watched as Watched,
)
from .consequences import Consequences as Consequences, plan_violation as plan_violation
from .firings import Firings as Firings
from .outlook import Outlook as Outlook, Overdue as Overdue, look as look
from .pulse import Moment as Moment, Pulse as Pulse
from .registry import ExpectationRegistry as ExpectationRegistry
from .watchlist import Watchlist as Watchlist
