"""
Dead letters: what could not be delivered, kept until somebody decides what to do with it.

A letter is an envelope that failed as often as it may, that its recipient cannot take at all, or
that was dropped because too much waited. It is out of its channel's way, and stays in the store
with its reason. Replaying it delivers it once more, beside the channel's order (`LetterReplay`);
an ack then ends it, a nack brings it back.

What happens to a letter by itself (it dies, it is acked, it fails again) is true at once and
written until the store has kept it: nobody waits whom an error could be told. What somebody asks
for (replay it, discard it) is true once it is durable.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping

import attrs

from .._logging import get_logger
from ..errors import FrameError, NotFoundError, StoreError
from ..ids import Now, iso_from_seconds
from ..protocol.inbox import DeadLetter
from ..records import DeadLetterPage, KeptLetter
from ..records.dead_letter import FAILURE_CHARACTERS_MAX
from ..stores import Change, Delete, Put
from ..wire.validation import decode_strictly, encode
from . import paths
from .committer import Committer
from .timers import Timers

__all__ = ["DeadLetterBox"]

log = get_logger(__name__)

# The store fails; soon enough that an operator does not miss a letter, and no burden.
_RETRY_SECONDS = 1.0


class DeadLetterBox:
    """
    All dead letters, in memory by recipient and durable in the store.

    Args:
        committer: Writes them.
        timers: Say when to try again what the store did not keep.
        clock: Seconds since 1970.
        per_agent_max: How many letters of one agent are kept.
        on_displaced: Told of each that was discarded because there were more.
    """

    def __init__(
        self,
        committer: Committer,
        timers: Timers,
        clock: Now,
        *,
        per_agent_max: int,
        on_displaced: Callable[[KeptLetter], None],
    ) -> None:
        self._committer = committer
        self._timers = timers
        self._clock = clock
        self._per_agent_max = per_agent_max
        self._on_displaced = on_displaced
        # Of one agent, in the order in which they died (after a restart: were posted).
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
            self._keep(letter)
        return problems

    def __len__(self) -> int:
        return sum(map(len, self._by_agent.values()))

    def __iter__(self) -> Iterator[KeptLetter]:
        for letters in self._by_agent.values():
            yield from letters.values()

    # Looking

    def page(self, agent_id: str | None, limit: int, after: str | None) -> DeadLetterPage:
        """
        Return the oldest letters of an agent (None: of everybody), by envelope.

        Args:
            limit: At most so many.
            after: Only those behind this place, which an earlier page named.
        """
        letters = iter(self) if agent_id is None else self._by_agent.get(agent_id, {}).values()
        rest = (it for it in letters if after is None or it.key > after)
        found = heapq.nsmallest(limit + 1, rest, key=_place)
        more = len(found) > limit
        return DeadLetterPage(
            letters=tuple(found[:limit]), after=found[limit - 1].key if more else None
        )

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
        """Return the letters that are to be delivered to an agent once more, oldest first."""
        letters = self._by_agent.get(agent_id, {}).values()
        return sorted((it for it in letters if it.replaying), key=_place)

    # What happens to letters

    def bury(self, agent_id: str, letter: DeadLetter, on_kept: Callable[[], None]) -> None:
        """Take a letter, and call `on_kept` once it is durable."""
        self._keep(
            KeptLetter(
                agent_id=agent_id,
                channel_id=letter.channel_id,
                position=letter.position,
                envelope_id=letter.envelope_id,
                attempts=letter.attempts,
                reason=letter.reason[:FAILURE_CHARACTERS_MAX],
                died_at=iso_from_seconds(self._clock()),
            )
        )
        self._write(agent_id, letter.envelope_id, on_kept)
        self._make_room(agent_id)

    def failed_again(self, letter: KeptLetter, reason: str) -> None:
        """Note that a letter was delivered again in vain."""
        back = attrs.evolve(
            letter,
            replaying=False,
            attempts=letter.attempts + 1,
            reason=reason[:FAILURE_CHARACTERS_MAX] or letter.reason,
        )
        self._keep(back)
        self._write(letter.agent_id, letter.envelope_id)

    def settle(self, letter: KeptLetter) -> None:
        """Take a letter out: its recipient has processed it."""
        self._drop(letter.agent_id, letter.envelope_id)
        self._write(letter.agent_id, letter.envelope_id)

    def forget_agent(self, agent_id: str) -> None:
        """Take out all letters of an agent that is no more."""
        for envelope_id in self._by_agent.pop(agent_id, {}):
            self._write(agent_id, envelope_id)

    # What somebody asks for

    async def mark_replaying(self, agent_id: str, envelope_id: str) -> KeptLetter:
        """
        Note that a letter is to be delivered again. Durable when it returns.

        Raises:
            NotFoundError: There is no such letter.
            StoreError: It could not be kept, as far as is known.

        Cancellation: it may or may not be noted.
        """
        letter = self.get(agent_id, envelope_id)
        if letter.replaying:
            return letter
        marked = attrs.evolve(letter, replaying=True)

        def keep() -> None:
            # Unless something else has become of it meanwhile.
            if self.find(agent_id, envelope_id) is letter:
                self._keep(marked)

        await self._committer.submit([_put(marked)], keep).wait()
        return marked

    async def discard(self, agent_id: str, envelope_id: str) -> None:
        """
        Throw a letter away. Durable when it returns.

        Raises:
            NotFoundError: There is no such letter.
            StoreError: That could not be kept, as far as is known.

        Cancellation: it may or may not be gone.
        """
        letter = self.get(agent_id, envelope_id)

        def drop() -> None:
            if self._drop(agent_id, envelope_id) is not letter:
                # It was written anew behind our back, or is gone already: nothing of it stays.
                self._write(agent_id, envelope_id)

        await self._committer.submit([_delete(agent_id, envelope_id)], drop).wait()

    # Inside

    def _keep(self, letter: KeptLetter) -> None:
        self._by_agent.setdefault(letter.agent_id, {})[letter.envelope_id] = letter

    def _make_room(self, agent_id: str) -> None:
        letters = self._by_agent[agent_id]
        while len(letters) > self._per_agent_max:
            oldest = next(
                (letter for letter in letters.values() if not letter.replaying),
                next(iter(letters.values())),
            )
            log.warning(
                "dead letter displaced",
                agent_id=agent_id,
                channel_id=oldest.channel_id,
                envelope_id=oldest.envelope_id,
            )
            # Behind the one that takes its place, and so on the disk no earlier.
            self.settle(oldest)
            self._on_displaced(oldest)

    def _drop(self, agent_id: str, envelope_id: str) -> KeptLetter | None:
        letters = self._by_agent.get(agent_id, {})
        letter = letters.pop(envelope_id, None)
        if not letters:
            self._by_agent.pop(agent_id, None)
        return letter

    def _write(
        self, agent_id: str, envelope_id: str, on_kept: Callable[[], None] | None = None
    ) -> None:
        """Have the store hold what is so now, and try until it does."""

        def failed(_error: StoreError) -> None:
            self._timers.call_in(
                _RETRY_SECONDS, lambda: self._write(agent_id, envelope_id, on_kept)
            )

        letter = self.find(agent_id, envelope_id)
        change = _delete(agent_id, envelope_id) if letter is None else _put(letter)
        self._committer.submit([change], on_kept, failed)


def _put(letter: KeptLetter) -> Change:
    return Put(paths.dead_letter(letter.agent_id, letter.envelope_id), encode(letter))


def _delete(agent_id: str, envelope_id: str) -> Change:
    return Delete(paths.dead_letter(agent_id, envelope_id))


def _place(letter: KeptLetter) -> str:
    return letter.key
