"""Dead letters between the inbox that they leave and the store that keeps them."""

from __future__ import annotations

import attrs

from .inbox_work import DeadLetter

__all__ = ["Burials"]


@attrs.define(eq=False)
class Burials:
    """
    The dead letters of one recipient that are on their way.

    Attributes:
        waiting: Those that nobody was told of yet.
        unburied: By channel, the positions of those that the store does not hold yet.
    """

    waiting: list[DeadLetter] = attrs.field(factory=list)
    unburied: dict[str, set[int]] = attrs.field(factory=dict)

    def add(self, letter: DeadLetter) -> None:
        """Something has died."""
        self.waiting.append(letter)
        self.expect(letter.channel_id, letter.position)

    def expect(self, channel_id: str, position: int) -> None:
        """Somebody has a letter who is going to have it kept."""
        self.unburied.setdefault(channel_id, set()).add(position)

    def take(self) -> list[DeadLetter]:
        """Return those that nobody was told of yet; now somebody is."""
        taken, self.waiting = self.waiting, []
        return taken

    def buried(self, channel_id: str, position: int) -> bool:
        """The store holds one. Returns False where none was on its way."""
        positions = self.unburied.get(channel_id)
        if positions is None or position not in positions:
            return False
        positions.discard(position)
        if not positions:
            del self.unburied[channel_id]
        return True

    def holds_back(self, channel_id: str) -> bool:
        """Whether a letter of a channel is not in the store yet, so that nothing may pass it."""
        return channel_id in self.unburied

    def forget(self, channel_id: str) -> None:
        """A log is gone; a letter that was not handed out yet would be about nothing."""
        self.unburied.pop(channel_id, None)
        self.waiting = [letter for letter in self.waiting if letter.channel_id != channel_id]
