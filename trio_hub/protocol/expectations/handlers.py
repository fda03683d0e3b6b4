"""The handlers that ship: what may follow when an expectation is not met."""

from __future__ import annotations

from collections.abc import Sequence

from ...records import ChannelMetadata
from .base import (
    Action,
    CloseChannel,
    HideParticipants,
    RemoveParticipants,
    TellParticipants,
    Violation,
    ViolationHandler,
)

__all__ = ["Audit", "AutoClose", "Hide", "NotifyChannel", "Remove", "Warn"]


class Audit(ViolationHandler):
    """Nothing but what follows in any case: the audit log, the listeners, the metrics."""

    name = "audit"

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        """Do nothing."""
        return ()


class Warn(ViolationHandler):
    """Tell those who did not meet it; where that is nobody in particular, everybody."""

    name = "warn"

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        """Tell them."""
        return (TellParticipants(violation.violator_ids or None),)


class NotifyChannel(ViolationHandler):
    """Tell everybody."""

    name = "notify_channel"

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        """Tell everybody."""
        return (TellParticipants(),)


class Hide(ViolationHandler):
    """Let nobody hear those who did not meet it any more."""

    name = "hide"
    needs_agents = True

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        """Hide them."""
        return (HideParticipants(violation.violator_ids),)


class Remove(ViolationHandler):
    """Have those who did not meet it take no part any more."""

    name = "remove"
    needs_agents = True

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        """Remove them."""
        return (RemoveParticipants(violation.violator_ids),)


class AutoClose(ViolationHandler):
    """Close the channel."""

    name = "auto_close"

    def actions(self, violation: Violation, metadata: ChannelMetadata) -> Sequence[Action]:
        """Close it, for AG2's reason."""
        return (CloseChannel(f"expectation_violated:{violation.expectation.name}"),)
