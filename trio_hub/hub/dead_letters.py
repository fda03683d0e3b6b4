"""
Dead letters: what could not be delivered, kept until somebody decides what to do with it.

A letter is an envelope that failed as often as it may, or that its recipient cannot take at all.
It is out of its channel's way, and stays in the store with its reason. Replaying it delivers it
once more, beside the channel's order; an ack then ends it, anything else brings it back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from .._logging import get_logger
from ..errors import FrameError, NotFoundError
from ..ids import Now, iso_from_seconds
from ..protocol.inbox import DeadLetter
from ..stores import Change, Delete, Put
from ..wire.validation import decode_strictly, encode
from . import paths
from .committer import Committer

__all__ = ["DeadLetterBox", "KeptLetter"]

log = get_logger(__name__)


@attrs.frozen(kw_only=True)
class KeptLetter:
    """
    A dead letter as it is kept.

    Attributes:
        agent_id: Whom it was for.
        position: Where the envelope stands in its channel's log.
        attempts: How often it was sent.
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


class DeadLetterBox:
    """
    All dead letters, in memory by recipient and durable in the store.

    Args:
        committer: Writes them.
        clock: Seconds since 1970.
    """

    def __init__(self, committer: Committer, clock: Now) -> None:
        self._committer = committer
        self._clock = clock
        self._by_agent: dict[str, dict[str, KeptLetter]] = {}

    def load(self, documents: Mapping[str, bytes]) -> list[str]:
        """Take what the store holds below ``/dead_letters``; say what cannot be read."""
        problems: list[str] = []
        for path, data in documents.items():
            try:
                letter = decode_strictly(data, KeptLetter, "dead letter")
            except FrameError as error:
                problems.append(f"dead letter {path} is set aside: {error}")
                continue
            self._by_agent.setdefault(letter.agent_id, {})[letter.envelope_id] = letter
        return problems

    def __len__(self) -> int:
        return sum(map(len, self._by_agent.values()))

    def all_of(self, agent_id: str | None = None) -> list[KeptLetter]:
        """Return the letters of an agent (None: of everybody), oldest envelope first."""
        if agent_id is not None:
            return sorted(self._by_agent.get(agent_id, {}).values(), key=_by_envelope)
        return sorted(self._all(), key=_by_envelope)

    def get(self, agent_id: str, envelope_id: str) -> KeptLetter:
        """Return a letter, or raise `NotFoundError`."""
        letter = self.find(agent_id, envelope_id)
        if letter is None:
            raise NotFoundError(f"{agent_id} has no dead letter {envelope_id!r}")
        return letter

    def find(self, agent_id: str, envelope_id: str) -> KeptLetter | None:
        """Return a letter, or None."""
        return self._by_agent.get(agent_id, {}).get(envelope_id)

    def replaying(self, agent_id: str) -> list[KeptLetter]:
        """Return the letters that are to be delivered to an agent once more."""
        return [letter for letter in self.all_of(agent_id) if letter.replaying]

    def bury(self, agent_id: str, letter: DeadLetter) -> Change:
        """Take a letter; it is kept once the change that is returned is durable."""
        kept = KeptLetter(
            agent_id=agent_id,
            channel_id=letter.channel_id,
            position=letter.position,
            envelope_id=letter.envelope_id,
            attempts=letter.attempts,
            reason=letter.reason,
            died_at=iso_from_seconds(self._clock()),
        )
        return self._put(kept)

    async def mark(self, letter: KeptLetter, *, replaying: bool) -> KeptLetter:
        """Note that a letter is to be delivered again, or not. Durable when it returns."""
        marked = attrs.evolve(letter, replaying=replaying)
        await self._committer.commit([self._put(marked)])
        return marked

    def failed_again(self, letter: KeptLetter, reason: str) -> None:
        """Note that a letter was delivered again in vain."""
        back = attrs.evolve(
            letter, replaying=False, attempts=letter.attempts + 1, reason=reason or letter.reason
        )
        self._committer.submit([self._put(back)])

    async def discard(self, agent_id: str, envelope_id: str) -> None:
        """Throw a letter away. Durable when it returns. Raises `NotFoundError`."""
        await self._committer.commit(self.settle(self.get(agent_id, envelope_id)))

    def settle(self, letter: KeptLetter) -> list[Change]:
        """Take a letter out: it was delivered, or nobody wants it. Returns what to write."""
        self._by_agent.get(letter.agent_id, {}).pop(letter.envelope_id, None)
        return [Delete(paths.dead_letter(letter.agent_id, letter.envelope_id))]

    def forget_agent(self, agent_id: str) -> list[Change]:
        """Take out all letters of an agent that is no more; returns what is to be written."""
        letters = self._by_agent.pop(agent_id, {})
        return [Delete(paths.dead_letter(agent_id, envelope_id)) for envelope_id in letters]

    def _put(self, letter: KeptLetter) -> Change:
        self._by_agent.setdefault(letter.agent_id, {})[letter.envelope_id] = letter
        return Put(paths.dead_letter(letter.agent_id, letter.envelope_id), encode(letter))

    def _all(self) -> Iterator[KeptLetter]:
        for letters in self._by_agent.values():
            yield from letters.values()


def _by_envelope(letter: KeptLetter) -> str:
    return letter.envelope_id
