"""
Dead letters on their way once more: beside the inbox, for their positions are settled and stay so.

A letter that is to be replayed waits for its recipient, and then for room: its record is read
from the log when the connection takes more, a bounded number is out at once, and each has
`ack_wait` to be answered. An ack ends a letter; a nack or silence brings it back to where it was,
for somebody to look at; a connection that breaks leaves it replaying, and it is sent again when
its recipient is back.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from .._logging import get_logger
from ..errors import StoreError
from ..protocol.inbox import Delivery
from ..records import Envelope, KeptLetter
from ..wire.frames import ReceiptFrame
from .channels import LogRecord
from .dead_letters import DeadLetterBox
from .mailbox import Mailbox, too_large
from .replay import Replay
from .timers import Timers

__all__ = ["REPLAYED_LETTERS_MAX", "LetterReplay"]

log = get_logger(__name__)

#: Replayed dead letters that one agent has not answered; further ones wait. They come on top of its
#: window, so they are few.
REPLAYED_LETTERS_MAX = 32
_READ_AGAIN_SECONDS = 1.0


@attrs.define(eq=False)
class _Round:
    """
    The letters of one agent in one binding.

    Attributes:
        waiting: Envelope ids, in the order in which they go out.
        out: Those that were sent, and until when they have to be answered.
    """

    mailbox: Mailbox
    waiting: dict[str, None] = attrs.field(factory=dict)
    reading: bool = False
    out: dict[str, float] = attrs.field(factory=dict)


class LetterReplay:
    """
    Delivers dead letters once more.

    Args:
        letters: All of them.
        replay: Reads their records.
        timers: Say when one was silent for too long.
        ack_wait_seconds: How long that is.
        moment: When an envelope expires (`trio.current_time`), or None.
        on_sent: Told of every letter that was sent.
    """

    def __init__(
        self,
        letters: DeadLetterBox,
        replay: Replay,
        timers: Timers,
        ack_wait_seconds: float,
        moment: Callable[[Envelope], float | None],
        on_sent: Callable[[], None],
    ) -> None:
        self._letters = letters
        self._replay = replay
        self._timers = timers
        self._ack_wait_seconds = ack_wait_seconds
        self._moment = moment
        self._on_sent = on_sent
        self._rounds: dict[str, _Round] = {}

    def attached(self, mailbox: Mailbox, *, replays: bool) -> None:
        """An agent is bound to a connection; what is to be replayed goes out on it."""
        round_ = self._rounds[mailbox.agent_id] = _Round(mailbox)
        if replays:
            round_.waiting = dict.fromkeys(
                it.envelope_id for it in self._letters.replaying(mailbox.agent_id)
            )
        self.pump(mailbox.agent_id)

    def detached(self, agent_id: str) -> None:
        """An agent is away; what was not answered goes out again when it is back."""
        self._rounds.pop(agent_id, None)

    async def ask(self, agent_id: str, envelope_id: str) -> KeptLetter:
        """
        Deliver a letter once more: now, or when its recipient is back.

        Raises:
            NotFoundError: There is no such letter.
            StoreError: The wish could not be kept.

        Cancellation: it may or may not be replayed.
        """
        letter = await self._letters.mark_replaying(agent_id, envelope_id)
        round_ = self._rounds.get(agent_id)
        if round_ is not None and envelope_id not in round_.out:
            round_.waiting[envelope_id] = None
            self.pump(agent_id)
        return letter

    def pump(self, agent_id: str) -> None:
        """Have the next letter read, where there is one and room for it."""
        round_ = self._rounds.get(agent_id)
        if round_ is None or round_.reading or len(round_.out) >= REPLAYED_LETTERS_MAX:
            return
        binding = round_.mailbox.binding
        while round_.waiting and binding is not None and binding.has_room:
            envelope_id = next(iter(round_.waiting))
            del round_.waiting[envelope_id]
            letter = self._letters.find(agent_id, envelope_id)
            if letter is not None and letter.replaying:
                self._read(round_, letter)
                return

    def receipt(self, frame: ReceiptFrame) -> None:
        """Take a receipt that is for nothing in the inbox, so perhaps for a letter."""
        agent_id, envelope_id = frame.recipient_id, frame.envelope_id
        letter = self._letters.find(agent_id, envelope_id)
        round_ = self._rounds.get(agent_id)
        if letter is None or round_ is None or letter.channel_id != frame.channel_id:
            return
        match frame.status:
            case "ack":
                # Also of one that is not out: it was given up, and done all the same.
                self._letters.settle(letter)
                log.info("dead letter acked", agent_id=agent_id, envelope_id=envelope_id)
            case "nack" if envelope_id in round_.out:
                self._fail(letter, frame.reason)
            case "progress" if envelope_id in round_.out:
                round_.out[envelope_id] = trio.current_time() + self._ack_wait_seconds
                return
        round_.out.pop(envelope_id, None)
        self.pump(agent_id)

    # Inside

    def _read(self, round_: _Round, letter: KeptLetter) -> None:
        round_.reading = True
        self._replay.want_record(
            letter.channel_id,
            letter.position,
            lambda it: self._answer(round_, letter.envelope_id, it),
        )

    def _answer(
        self, round_: _Round, envelope_id: str, found: LogRecord | StoreError | None
    ) -> None:
        """Send a letter whose record has been read, if it is still wanted here."""
        round_.reading = False
        agent_id = round_.mailbox.agent_id
        if self._rounds.get(agent_id) is not round_:
            return
        letter = self._letters.find(agent_id, envelope_id)
        if letter is not None and letter.replaying:
            if isinstance(found, StoreError):
                round_.waiting[envelope_id] = None
                self._timers.call_in(_READ_AGAIN_SECONDS, lambda: self.pump(agent_id))
                return
            self._send(round_, letter, found)
        self.pump(agent_id)

    def _send(self, round_: _Round, letter: KeptLetter, record: LogRecord | None) -> None:
        if record is None or record.envelope is None:
            self._fail(letter, "undeliverable: its record cannot be read")
            return
        moment = self._moment(record.envelope)
        if moment is not None and moment <= trio.current_time():
            self._fail(letter, "expired: its TTL is over")
            return
        delivery = Delivery(
            letter.channel_id, letter.position, letter.envelope_id, letter.attempts + 1, record.raw
        )
        binding = round_.mailbox.binding
        assert binding is not None, "a round ends with its binding"
        if binding.deliver(letter.agent_id, delivery):
            due = trio.current_time() + self._ack_wait_seconds
            round_.out[letter.envelope_id] = due
            self._timers.call_at(due, lambda: self._look(round_, letter.envelope_id))
            self._on_sent()
        else:
            self._fail(letter, too_large(delivery))

    def _look(self, round_: _Round, envelope_id: str) -> None:
        """See whether a letter that is out has been silent for too long."""
        agent_id = round_.mailbox.agent_id
        due = round_.out.get(envelope_id)
        if due is None or self._rounds.get(agent_id) is not round_:
            return
        if due > trio.current_time():
            self._timers.call_at(due, lambda: self._look(round_, envelope_id))
            return
        del round_.out[envelope_id]
        letter = self._letters.find(agent_id, envelope_id)
        if letter is not None:
            self._fail(letter, f"silent for {self._ack_wait_seconds:g} s")
        self.pump(agent_id)

    def _fail(self, letter: KeptLetter, reason: str) -> None:
        log.warning(
            "dead letter failed again", agent_id=letter.agent_id, envelope_id=letter.envelope_id
        )
        self._letters.failed_again(letter, reason)
