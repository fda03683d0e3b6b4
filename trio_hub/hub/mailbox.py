"""The mailbox of one agent: what it is owed, and the connection that it is bound to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import attrs

from ..protocol.inbox import Delivery, Inbox
from ..protocol.operator_rules import high_water_of
from ..protocol.runs import Run
from ..records import Envelope, InboxBlock
from .admission import Refusal
from .channel import Channel

__all__ = ["PAYLOAD_BYTES_MAX", "Binding", "Mailbox", "SavedCursor", "kept_payload", "too_large"]

#: An envelope that is larger stays in its log until it is sent. So a recipient that does not read
#: holds 16 MiB with the default window, whatever it is sent.
PAYLOAD_BYTES_MAX: Final = 64 * 1024


class Binding(Protocol):
    """A connection, as far as deliveries go."""

    @property
    def has_room(self) -> bool:
        """Whether its outbox should be given more."""
        ...

    def deliver(self, agent_id: str, delivery: Delivery[bytes]) -> bool:
        """Send an envelope. False where it is larger than the peer takes."""
        ...


@attrs.frozen
class SavedCursor:
    """A cursor as it stands in the store: settled up to `cursor`, and these runs above it."""

    cursor: int = 0
    settled: tuple[Run, ...] = ()


@attrs.define(eq=False)
class Mailbox:
    """
    One agent's deliveries.

    Attributes:
        inbox: Decides what is sent when.
        limits: How much may wait, by the agent's rule.
        refusal: Returns why an envelope is not handed to an agent, or None.
        binding: The connection it is bound to, or None while it is away.
        backlog: Deliveries that are due, while the connection's outbox is full. The next one stands
            at the end: most mailboxes never have any, and a list without any takes no room.
        fetching: The next of them, while its envelope is being read from the log.
        fetches_failed: How often that could not be read.
        saved: Cursors of channels that are cold.
        wakes_at: When the timers will look at the inbox anyway.
        pressed: Whether more waits than the high-water mark of its rule.
        high_water: How much may wait before pressure is reported; 0 is never.
    """

    agent_id: str
    inbox: Inbox[bytes]
    limits: InboxBlock
    refusal: Callable[[Envelope, str], Refusal | None]
    binding: Binding | None = None
    backlog: list[Delivery[bytes]] = attrs.field(factory=list)
    fetching: Delivery[bytes] | None = None
    fetches_failed: int = 0
    saved: dict[str, SavedCursor] = attrs.field(factory=dict)
    wakes_at: float | None = None
    pressed: bool = False
    # Compared with every change, so not worked out for each.
    high_water: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.high_water = high_water_of(self.limits)

    def is_owed(self, channel: Channel, envelope: Envelope) -> bool:
        """Whether an envelope is for this agent, as things stand now."""
        return (
            channel.recipients.is_addressed(envelope, self.agent_id)
            and self.refusal(envelope, self.agent_id) is None
        )

    def clear(self) -> None:
        """Have nothing due: another binding begins, or none."""
        self.backlog.clear()
        self.fetching = None
        self.fetches_failed = 0

    def leave(self, channel_id: str) -> None:
        """Be owed nothing more in a channel."""
        self.inbox.forget(channel_id)
        self.saved.pop(channel_id, None)
        self.backlog[:] = [it for it in self.backlog if it.channel_id != channel_id]

    @property
    def is_full(self) -> bool:
        """Whether it is owed as much as its rule allows."""
        return 0 < self.limits.max_pending <= self.inbox.owed

    @property
    def is_over(self) -> bool:
        """Whether it is owed more than its rule allows."""
        return 0 < self.limits.max_pending < self.inbox.owed

    def obey(self, limits: InboxBlock) -> None:
        """Let as much wait as other limits say, from now on."""
        self.limits, self.high_water = limits, high_water_of(limits)


def kept_payload(raw: bytes) -> bytes:
    """Return what is kept of an envelope until it is sent: nothing where it is large."""
    return raw if len(raw) <= PAYLOAD_BYTES_MAX else b""


def too_large(delivery: Delivery[bytes]) -> str:
    """Say why a delivery that a binding refused is a dead letter."""
    return f"undeliverable: {len(delivery.payload)} bytes are more than its connection takes"
