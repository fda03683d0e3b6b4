"""
The limits of a connection and of a port, all in one place: how large, how long, how much may wait.

Each has a default and the reason for it; the relations between them are asserted when the object
is made, so that a hub whose limits contradict each other does not start.
"""

from __future__ import annotations

import attrs
from attrs.validators import gt, optional

__all__ = ["RECEIVE_BUFFER_BYTES", "LinkLimits", "ServerLimits", "library_bytes_max"]

_KIB = 1024
_MIB = 1024 * 1024

#: Bytes read from a socket at once: measured; 4 KiB makes a system call of each.
RECEIVE_BUFFER_BYTES = 64 * _KIB
_BYTES = {"unit": "bytes"}
_SECONDS = {"unit": "seconds"}
_CONNECTIONS = {"unit": "connections"}


@attrs.frozen(kw_only=True)
class LinkLimits:
    """
    What one connection may cost.

    Attributes:
        message_bytes_max: The largest message that a hub takes from a client. Somewhat more than
            any conversation needs; files belong elsewhere. A message over it is answered with an
            error and the connection lives.
        overhead_bytes_max: How much larger than the largest message the hub's own messages may
            be, so that an envelope that was accepted always fits into its notify frame. The
            fields of a frame and the ids that the hub stamps are below 1 KiB.
        plain_message_bytes_max: The largest message to a peer of the plain dialect. AG2 peers
            drop the connection above 1 MiB (the default of their WebSocket library).
        batch_bytes_max: Frames are joined into messages of about this size in the batched
            dialect. The gain of joining is all had long before it.
        ping_interval_seconds: How often to look whether the peer is alive.
        ping_timeout_seconds: How long a living peer may take to show it. With the interval it
            bounds how long a half-open connection is believed in.
        send_timeout_seconds: How long the peer may take nothing of what is sent to it.
        send_bytes_per_second_min: The slowest line that is put up with: each send gets its
            bytes over this rate on top of `send_timeout_seconds`, or else a large envelope over
            a slow line would be cut off and redelivered for ever.
        open_timeout_seconds: From the TCP connection to the end of the WebSocket handshake.
        close_timeout_seconds: For an orderly close: writing out what waits, and the handshake.
        outbox_high_bytes: Above it the outbox has no room: deliveries stay in the log.
        outbox_low_bytes: Below it there is room again.
        outbox_hard_bytes: Past it the peer is cut off as too slow. Answers may go beyond the
            high mark up to here; NATS draws the same line at 64 MiB.
    """

    message_bytes_max: int = attrs.field(default=8 * _MIB, validator=gt(0), metadata=_BYTES)
    overhead_bytes_max: int = attrs.field(default=64 * _KIB, validator=gt(0), metadata=_BYTES)
    plain_message_bytes_max: int = attrs.field(default=1 * _MIB, validator=gt(0), metadata=_BYTES)
    batch_bytes_max: int = attrs.field(default=256 * _KIB, validator=gt(0), metadata=_BYTES)
    ping_interval_seconds: float = attrs.field(default=20.0, validator=gt(0), metadata=_SECONDS)
    ping_timeout_seconds: float = attrs.field(default=20.0, validator=gt(0), metadata=_SECONDS)
    send_timeout_seconds: float = attrs.field(default=30.0, validator=gt(0), metadata=_SECONDS)
    send_bytes_per_second_min: float = attrs.field(
        default=32.0 * _KIB, validator=gt(0), metadata={"unit": "bytes a second"}
    )
    open_timeout_seconds: float = attrs.field(default=10.0, validator=gt(0), metadata=_SECONDS)
    close_timeout_seconds: float = attrs.field(default=5.0, validator=gt(0), metadata=_SECONDS)
    outbox_low_bytes: int = attrs.field(default=1 * _MIB, validator=gt(0), metadata=_BYTES)
    outbox_high_bytes: int = attrs.field(default=4 * _MIB, validator=gt(0), metadata=_BYTES)
    outbox_hard_bytes: int = attrs.field(default=64 * _MIB, validator=gt(0), metadata=_BYTES)

    def __attrs_post_init__(self) -> None:
        if not self.outbox_low_bytes <= self.outbox_high_bytes < self.outbox_hard_bytes:
            raise ValueError("outbox marks must be ordered: low <= high < hard")
        if self.outbox_hard_bytes < self.outbox_high_bytes + self.hub_message_bytes_max:
            raise ValueError(
                "outbox_hard_bytes must leave room for one largest message above the high mark: "
                f"at least {self.outbox_high_bytes + self.hub_message_bytes_max}"
            )
        if self.plain_message_bytes_max > self.hub_message_bytes_max:
            raise ValueError(
                "plain_message_bytes_max cannot be above what any peer may be sent: "
                f"at most {self.hub_message_bytes_max}"
            )

    @property
    def hub_message_bytes_max(self) -> int:
        """The largest message of a hub, and so what a client must be ready to take."""
        return self.message_bytes_max + self.overhead_bytes_max


@attrs.frozen(kw_only=True)
class ServerLimits:
    """
    What the peers of one port may cost together.

    Attributes:
        connections_max: Open or opening; one more is closed at once. Each costs about 40 kB while
            it is idle, 26 kB with the faster transport, and a file descriptor.
        connections_per_address_max: The same for one address of the other side. None for no limit
            of its own, as behind a proxy, where everybody has its address.
        backlog_max: Connections that the kernel has accepted and the hub has not looked at yet;
            it lets the others try again. As many as come in the second that a busy hub may take;
            kernels have a limit of their own, and the lower one counts (on Linux
            `net.core.somaxconn`, 4096 by default).
    """

    connections_max: int = attrs.field(default=10_000, validator=gt(0), metadata=_CONNECTIONS)
    connections_per_address_max: int | None = attrs.field(
        default=None, validator=optional(gt(0)), metadata=_CONNECTIONS
    )
    backlog_max: int = attrs.field(default=4096, validator=gt(0), metadata=_CONNECTIONS)


def library_bytes_max(receive_bytes_max: int) -> int:
    """
    Return the limit at which a WebSocket library closes the connection by itself.

    Far enough above ours that a message somewhat too large is answered and the connection lives.
    """
    return 2 * receive_bytes_max + 64 * _KIB
