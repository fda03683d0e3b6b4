"""Dead letters as they are kept and shown: what could not be delivered to whom, and why."""

from __future__ import annotations

import attrs

__all__ = ["FAILURE_CHARACTERS_MAX", "DeadLetterPage", "KeptLetter"]

#: What is kept and told of the reason for which an envelope was not handled: an error's first lines.
FAILURE_CHARACTERS_MAX = 500


@attrs.frozen(kw_only=True)
class KeptLetter:
    """
    A dead letter. The envelope itself stands in its channel's log.

    Attributes:
        agent_id: Whom it was for.
        position: Where the envelope stands in its channel's log.
        attempts: How often it was sent; 0 where it was dropped before it could be.
        reason: Why it could not be delivered: the last nack's reason, or the hub's; its first 500
            characters.
        died_at: ISO 8601.
        replaying: Somebody asked for it to be delivered again, and it was not settled yet.
    """

    agent_id: str
    channel_id: str
    position: int
    envelope_id: str
    attempts: int
    reason: str
    died_at: str
    replaying: bool = False

    @property
    def key(self) -> str:
        """Its place in the order of all letters: by envelope, then by recipient."""
        return f"{self.envelope_id}/{self.agent_id}"


@attrs.frozen(kw_only=True)
class DeadLetterPage:
    """
    Some dead letters, oldest envelope first.

    Attributes:
        after: Ask for what comes after this; None where there is no more.
    """

    letters: tuple[KeptLetter, ...] = ()
    after: str | None = None
