"""
What an agent is shown of a channel: views, from envelopes to lines.

A view is a pure function of envelopes, and says beforehand how many of the last ones it wants.
So whoever reads the log for it reads that many from the end, however long the log is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import attrs

from ..records import Envelope, is_bookkeeping, is_visible_to

__all__ = ["FullTranscript", "Line", "View", "WindowedSummary", "default_view", "words_of"]

_WINDOW_DEFAULT = 50


@attrs.frozen
class Line:
    """
    Something an agent is shown.

    Attributes:
        role: "assistant" is what it said itself, "user" what others said, "system" what nobody
            said: a remark of the view's own.
        text: The words.
    """

    role: Literal["assistant", "user", "system"]
    text: str


class View(Protocol):
    """A way to show a channel to one of its participants."""

    @property
    def wanted(self) -> int | None:
        """How many of the last texts and packets it wants; None is all of them."""
        ...

    def project(
        self, envelopes: Sequence[Envelope], *, reader_id: str, names: Mapping[str, str]
    ) -> list[Line]:
        """
        Return what `reader_id` is shown.

        Args:
            envelopes: What was said, oldest first: the last `wanted`, or fewer where there are no
                more.
            names: {agent id: name}; whoever is not in it is called by its id.
        """
        ...


@attrs.frozen
class FullTranscript:
    """
    All that was said, word for word. What it costs grows with the channel.

    Args:
        named: Put the speaker's name in front of what others said; for more than two.
    """

    named: bool = False

    @property
    def wanted(self) -> int | None:
        """See `View.wanted`."""
        return None

    def project(
        self, envelopes: Sequence[Envelope], *, reader_id: str, names: Mapping[str, str]
    ) -> list[Line]:
        """See `View.project`."""
        return _lines(envelopes, reader_id, names if self.named else None)


@attrs.frozen
class WindowedSummary:
    """
    The last of what was said, and a remark where something stands before it.

    What it costs does not grow with the channel. For that it does not count what it leaves out.

    Args:
        window: How many texts and packets it shows.
        named: Put the speaker's name in front of what others said; for more than two.
    """

    window: int = attrs.field(default=_WINDOW_DEFAULT, validator=attrs.validators.ge(1))
    named: bool = False

    @property
    def wanted(self) -> int | None:
        """See `View.wanted`: one more than it shows, to know whether there is more."""
        return self.window + 1

    def project(
        self, envelopes: Sequence[Envelope], *, reader_id: str, names: Mapping[str, str]
    ) -> list[Line]:
        """See `View.project`."""
        lines = _lines(envelopes[-self.window :], reader_id, names if self.named else None)
        if len(envelopes) > self.window:
            lines.insert(0, Line("system", "(What was said before this is not shown.)"))
        return lines


def default_view(participants: int) -> View:
    """Return the view for a channel of so many: a window, with names where they are needed."""
    return WindowedSummary(named=participants > 2)


def words_of(envelope: Envelope) -> str:
    """Return what an envelope says: its text, and why its packet hands off, or else finishes."""
    routing, text = envelope.routing, envelope.text
    reason = routing.get("reason")
    if not isinstance(reason, str) or not reason:
        return text
    if not text:
        return reason
    # Whoever goes on wants both: what was said to everybody, and what it is to do.
    return f"{text}\n\n{reason}" if routing.get("kind") == "handoff" else text


def _lines(
    envelopes: Sequence[Envelope], reader_id: str, names: Mapping[str, str] | None
) -> list[Line]:
    lines: list[Line] = []
    for envelope in envelopes:
        words = words_of(envelope)
        if (
            not words
            or is_bookkeeping(envelope.event_type)
            or not is_visible_to(envelope, reader_id)
        ):
            continue
        if envelope.sender_id == reader_id:
            lines.append(Line("assistant", words))
        elif names is None:
            lines.append(Line("user", words))
        else:
            lines.append(
                Line("user", f"{names.get(envelope.sender_id, envelope.sender_id)}: {words}")
            )
    return lines
