"""
Connections that end before their WebSocket is open: port scanners, plain text on a port for TLS,
clients that do not trust the hub's certificate.

Anybody can make as many of them as the network lets through, and none of them is an attempt to be
somebody. So each is counted, and nothing more is kept of it by itself: the audit log and the
listeners get one summary a minute at the most, whatever comes; the log has the first few of that
minute. Nor does the address wait for it: nothing is guessed that way, and those who come from the
same address would wait too.
"""

from __future__ import annotations

from collections import Counter

from .._logging import get_logger
from ..ids import Now, iso_from_seconds
from ..links.address import address_of
from ..links.handshakes import HandshakeFailure
from ..protocol.tally import Tally
from .announcer import Announcer
from .timers import Timers

__all__ = [
    "LOGGED_HANDSHAKES_MAX",
    "NAMED_ADDRESSES_MAX",
    "TALLIED_ADDRESSES_MAX",
    "FailedHandshakes",
]

log = get_logger(__name__)

_SUMMARY_SECONDS = 60.0
#: Failed handshakes of one minute that the log has a line for; further ones are only summed up.
LOGGED_HANDSHAKES_MAX = 10
#: Addresses that are told apart in one summary of failed handshakes, the first that come; further ones
#: are counted together. A hundred kilobytes.
TALLIED_ADDRESSES_MAX = 1_000
#: Addresses that one summary of failed handshakes names, those with most: as many as somebody reads.
NAMED_ADDRESSES_MAX = 10

# Not in the summary: the first is what a load balancer does every few seconds, by which nothing
# was tried; the others have a record of their own, by which their address is throttled.
_ONLY_COUNTED = frozenset(
    {HandshakeFailure.SAID_NOTHING, HandshakeFailure.CERTIFICATE, HandshakeFailure.CREDENTIAL}
)


class FailedHandshakes:
    """
    Counts them, and sums them up.

    Args:
        announcer: Told of each summary.
        timers: Say when a summary is due.
        clock: Seconds since 1970.

    Attributes:
        counts: How many there were since the hub opened, by reason.
    """

    def __init__(self, announcer: Announcer, timers: Timers, clock: Now) -> None:
        self._announcer = announcer
        self._timers = timers
        self._clock = clock
        self.counts: Counter[str] = Counter()
        self._tally: Tally | None = None
        self._since = ""

    def add(self, peer: str, failure: HandshakeFailure, detail: str) -> None:
        """Count one."""
        self.counts[failure.value] += 1
        if failure in _ONLY_COUNTED:
            log.debug("handshake failed", peer=peer, reason=failure.value, detail=detail)
            return
        tally = self._tally
        if tally is None:
            tally = Tally(places_max=TALLIED_ADDRESSES_MAX, places_shown_max=NAMED_ADDRESSES_MAX)
            self._tally = tally
            self._since = iso_from_seconds(self._clock())
            self._timers.call_in(_SUMMARY_SECONDS, lambda: self._sum_up(tally))
        tally.add(failure.value, address_of(peer))
        if tally.total <= LOGGED_HANDSHAKES_MAX:
            log.info("handshake failed", peer=peer, reason=failure.value, detail=detail)

    def flush(self) -> None:
        """Sum up what there is, and do not wait until a minute is over."""
        if self._tally is not None:
            self._sum_up(self._tally)

    def _sum_up(self, tally: Tally) -> None:
        if tally is not self._tally:
            return  # The hub has drained meanwhile.
        self._tally = None
        summary = {"since": self._since, **tally.summary()}
        if tally.total > LOGGED_HANDSHAKES_MAX:
            log.info("handshakes failed", **summary)
        self._announcer.handshakes_failed(summary)
