"""
The requests that wait for their answers: the client's outbox.

A call is made once, and sent as often as it takes: when the connection goes before the answer
came, it stands here in its place and is sent again over the next one. That is right only for
operations that do nothing twice. Posts carry an idempotency key, most others read or set; the
few that would add something each time are named in `NOT_REPEATABLE` and fail with what is known.
Opening a channel carries a key too, and counting a task its id, which hubs of the batched dialect
know of and AG2's do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import attrs
import msgspec
import trio

from ..errors import ConnectionLost, NetworkError, error_from_code
from ..wire.frames import ResponseFrame

__all__ = ["NOT_REPEATABLE", "PATIENT_REQUESTS_MAX", "WAITS_FOR_OTHERS", "Call", "Calls"]

#: Operations whose repetition would do their work twice.
NOT_REPEATABLE: Final = frozenset({"record_observation", "fire_task_event"})

#: Operations whose repetition is harmless where the hub looks at their idempotency key.
_REPEATABLE_BY_KEY: Final = frozenset({"create_channel"})

#: Operations that are answered only after other agents have acted (perhaps some of this very
#: client, which need a place in the outbox for that).
WAITS_FOR_OTHERS: Final = frozenset({"create_channel", "wait_task", "lease_task"})


#: Requests of one client that wait for others at once (a channel to be opened, a task to end, a
#: lease); further ones wait for those. Half of what a hub works on for one connection.
PATIENT_REQUESTS_MAX = 128


@attrs.define(eq=False)
class Call:
    """
    One request.

    Attributes:
        frame: The encoded request frame, the same in both dialects.
        hint: What its caller can do when the outcome is unknown, for the error's message.
        on_result: Called with a good answer before the next frame is read, so that whatever
            arrives right behind it finds what the answer brought.
        names_task: It says which task it is about, by which a hub of ours knows that it has done it.
        sent_count: Over how many connections it was sent.
        sent_over: The last of them.
        sent_to_plain_hub: One of them spoke the plain dialect, so its hub may be AG2's.
    """

    request_id: str
    op: str
    frame: bytes = attrs.field(repr=False)
    hint: str = ""
    on_result: Callable[[ResponseFrame], None] | None = None
    names_task: bool = False
    sent_count: int = 0
    sent_over: object | None = attrs.field(default=None, repr=False)
    sent_to_plain_hub: bool = False
    answered: trio.Event = attrs.field(factory=trio.Event, repr=False)
    result: msgspec.Raw = attrs.field(default=msgspec.Raw(b"null"), repr=False)
    error: NetworkError | None = None

    @property
    def may_send(self) -> bool:
        """Whether sending it (again) does nothing twice."""
        if self.sent_count == 0:
            return True
        if self.op in _REPEATABLE_BY_KEY or (self.op == "record_observation" and self.names_task):
            return not self.sent_to_plain_hub
        return self.op not in NOT_REPEATABLE

    def fail(self, error: NetworkError) -> None:
        """Answer with an error."""
        if not self.answered.is_set():
            self.error = error
            self.answered.set()

    @property
    def what_is_known(self) -> str:
        """What can be said about it while there is no answer."""
        if self.sent_count == 0:
            return "it was never sent, so nothing has happened"
        unknown = "it was sent, and whether it was carried out is unknown"
        return f"{unknown}; {self.hint}" if self.hint else unknown

    def fail_unknown(self, why: str) -> None:
        """Answer that the link is gone."""
        self.fail(ConnectionLost(f"{self.op} has no answer, because {why}: {self.what_is_known}"))


class Calls:
    """
    All calls without an answer, in the order in which they were made.

    Args:
        waiting_max: How many there may be; whoever wants to make another one waits for a place.
            Calls that wait for other agents have places of their own, and few enough of them
            that a hub still reads what those others have to say on this very connection.
    """

    def __init__(self, waiting_max: int) -> None:
        self._calls: dict[str, Call] = {}
        self._places = trio.Semaphore(waiting_max)
        self._places_of_the_patient = trio.Semaphore(min(waiting_max, PATIENT_REQUESTS_MAX))

    def __len__(self) -> int:
        return len(self._calls)

    def place_for(self, op: str) -> trio.Semaphore:
        """Return the semaphore that a call of `op` must hold while it is here."""
        return self._places_of_the_patient if op in WAITS_FOR_OTHERS else self._places

    def add(self, call: Call) -> None:
        """Take a call in."""
        self._calls[call.request_id] = call

    def discard(self, call: Call) -> None:
        """Forget a call: it was answered, or nobody waits any more."""
        self._calls.pop(call.request_id, None)

    def answer(self, frame: ResponseFrame) -> bool:
        """Hand an answer to its call; False where nobody waits for it (any more)."""
        call = self._calls.get(frame.request_id)
        if call is None or call.answered.is_set():
            return False
        if frame.ok:
            call.result = frame.result
            if call.on_result is not None:
                try:
                    call.on_result(frame)
                except NetworkError as error:
                    call.error = error
            call.answered.set()
        else:
            call.fail(
                error_from_code(
                    frame.error_code,
                    frame.error_message,
                    retry_after_seconds=frame.retry_after_seconds,
                )
            )
        return True

    def put_back(self, request_id: str) -> None:
        """The hub did not carry it out and said so: it waits as if it had never been sent."""
        call = self._calls.get(request_id)
        if call is not None:
            call.sent_count = 0

    def to_send_over(self, connection: object) -> list[Call]:
        """Return what has not been sent over `connection`, failing what must not be repeated."""
        ready = []
        for call in list(self._calls.values()):
            if call.answered.is_set() or call.sent_over is connection:
                continue
            if call.may_send:
                ready.append(call)
            else:
                call.fail_unknown("the connection was lost and it must not be repeated")
        return ready

    def fail_all(self, why: str) -> None:
        """Answer every call that the link is gone for good."""
        for call in self._calls.values():
            call.fail_unknown(why)
