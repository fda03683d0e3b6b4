"""
Every metric of a hub: its name, what it means, and where its numbers are.

The collector and the table in the documentation are both made from `METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import attrs

from .._histogram import Histogram
from ..hub.backlog import Backlog
from ..hub.federation import PeerHealth
from ..hub.figures import HubFigures

__all__ = ["METRICS", "Metric", "Reading", "Sample"]

#: The values of the labels, and the number; a histogram for a metric that is one.
Sample = tuple[tuple[str, ...], "float | Histogram"]


@attrs.frozen(kw_only=True)
class Reading:
    """
    What one scrape shows.

    Attributes:
        figures: The hub's counters.
        backlog: What is owed, by type of channel.
        now: Seconds since 1970.
    """

    figures: HubFigures
    backlog: Mapping[str, Backlog]
    now: float


@attrs.frozen
class Metric:
    """
    One family of samples.

    Attributes:
        name: As in Prometheus, without the suffix ``_total`` of counters.
        kind: A counter only grows, from 0 when the hub opened.
        help: One sentence.
        labels: The names of its labels. Their values come from the hub, never from a peer, so
            nobody can make more of them.
        read: Finds the samples.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    read: Callable[[Reading], Iterator[Sample]]


def _one(pick: Callable[[HubFigures], float]) -> Callable[[Reading], Iterator[Sample]]:
    def read(reading: Reading) -> Iterator[Sample]:
        yield (), float(pick(reading.figures))

    return read


def _each(
    pick: Callable[[HubFigures], Mapping[str, int]],
) -> Callable[[Reading], Iterator[Sample]]:
    def read(reading: Reading) -> Iterator[Sample]:
        for label, value in sorted(pick(reading.figures).items()):
            yield (label,), float(value)

    return read


def _refused(reading: Reading) -> Iterator[Sample]:
    for labels, value in sorted(reading.figures.refused.items()):
        yield labels, float(value)


def _violations(reading: Reading) -> Iterator[Sample]:
    for labels, value in sorted(reading.figures.violations.items()):
        yield labels, float(value)


def _owed(reading: Reading) -> Iterator[Sample]:
    for type_, backlog in sorted(reading.backlog.items()):
        yield (type_,), float(backlog.envelopes)


def _oldest(reading: Reading) -> Iterator[Sample]:
    for type_, backlog in sorted(reading.backlog.items()):
        since = reading.now if backlog.oldest_at is None else backlog.oldest_at
        yield (type_,), max(0.0, reading.now - since)


def _listeners_dropped(reading: Reading) -> Iterator[Sample]:
    # Two listeners of one class share a sample, or the exposition would not be valid.
    dropped: dict[str, int] = {}
    for it in reading.figures.health.listeners:
        dropped[it.name] = dropped.get(it.name, 0) + it.dropped
    for name, value in sorted(dropped.items()):
        yield (name,), float(value)


def _of_peers(
    pick: Callable[[PeerHealth], float],
) -> Callable[[Reading], Iterator[Sample]]:
    def read(reading: Reading) -> Iterator[Sample]:
        for peer in reading.figures.health.peers:
            yield (peer.name,), float(pick(peer))

    return read


def _commit_seconds(reading: Reading) -> Iterator[Sample]:
    yield (), reading.figures.commit_seconds


def _write_seconds(reading: Reading) -> Iterator[Sample]:
    if reading.figures.writes is not None:
        yield (), reading.figures.writes.seconds


def _write_sizes(reading: Reading) -> Iterator[Sample]:
    if reading.figures.writes is not None:
        yield (), reading.figures.writes.sizes


METRICS: tuple[Metric, ...] = (
    # What goes through
    Metric(
        "trio_hub_posts",
        "counter",
        "Envelopes that went into a log and are durable, the hub's own among them.",
        ("channel_type",),
        _each(lambda it: it.posted),
    ),
    Metric(
        "trio_hub_posts_rejected",
        "counter",
        "Posts that were refused, over the wire or in the process, by the code of the error.",
        ("code",),
        _each(lambda it: it.rejected),
    ),
    Metric(
        "trio_hub_expectations_violated",
        "counter",
        "Expectations of channels that were not met, by name and by what followed.",
        ("expectation", "on_violation"),
        _violations,
    ),
    Metric(
        "trio_hub_refusals",
        "counter",
        "What peers were told that it failed: requests (posts among them), hellos, frames.",
        ("what", "code"),
        _refused,
    ),
    Metric(
        "trio_hub_handshakes_failed",
        "counter",
        "Connections that ended before their WebSocket was open, by reason.",
        ("reason",),
        _each(lambda it: it.handshakes_failed),
    ),
    Metric(
        "trio_hub_deliveries",
        "counter",
        "Envelopes sent to recipients, every attempt counted.",
        (),
        _one(lambda it: it.health.delivered),
    ),
    Metric(
        "trio_hub_redeliveries",
        "counter",
        "Deliveries that were not the first attempt.",
        (),
        _one(lambda it: it.health.redelivered),
    ),
    Metric(
        "trio_hub_receipts",
        "counter",
        "What recipients said of deliveries: ack, nack, progress.",
        ("status",),
        _each(lambda it: it.receipts),
    ),
    Metric(
        "trio_hub_dead_letters_buried",
        "counter",
        "Envelopes that became dead letters.",
        (),
        _one(lambda it: it.buried),
    ),
    Metric(
        "trio_hub_expired",
        "counter",
        "Deliveries that were not made because the envelope's TTL was over.",
        (),
        _one(lambda it: it.expired),
    ),
    # What waits
    Metric(
        "trio_hub_dead_letters",
        "gauge",
        "Dead letters that nobody has decided upon.",
        (),
        _one(lambda it: it.health.dead_letters),
    ),
    Metric(
        "trio_hub_unacked",
        "gauge",
        "Deliveries that are owed and not settled, in channels that were used since the start.",
        ("channel_type",),
        _owed,
    ),
    Metric(
        "trio_hub_oldest_unacked_seconds",
        "gauge",
        "How long ago the oldest envelope that is owed was accepted; 0 where none is owed.",
        ("channel_type",),
        _oldest,
    ),
    Metric(
        "trio_hub_commits_waiting",
        "gauge",
        "Batches that are not durable yet, those being written among them.",
        (),
        _one(lambda it: it.health.commits_waiting),
    ),
    Metric(
        "trio_hub_outbox_bytes",
        "gauge",
        "Bytes that wait to be written to peers, all connections together.",
        (),
        _one(lambda it: it.outbox_bytes),
    ),
    Metric(
        "trio_hub_audit_waiting",
        "gauge",
        "Audit records that are not durable yet.",
        (),
        _one(lambda it: it.health.audit_waiting),
    ),
    Metric(
        "trio_hub_listener_events_waiting",
        "gauge",
        "Events in the queues of listeners.",
        (),
        _one(lambda it: sum(one.waiting for one in it.health.listeners)),
    ),
    Metric(
        "trio_hub_listener_events_dropped",
        "counter",
        "Events that a listener missed because it was too slow.",
        ("listener",),
        _listeners_dropped,
    ),
    # The store
    Metric(
        "trio_hub_commits",
        "counter",
        "Batches that were kept.",
        (),
        _one(lambda it: it.health.commits),
    ),
    Metric(
        "trio_hub_commits_failed",
        "counter",
        "How often the store could not keep what it was given.",
        (),
        _one(lambda it: it.health.commits_failed),
    ),
    Metric(
        "trio_hub_commit_seconds",
        "histogram",
        "From the submission of a batch until it was durable: what a post waits.",
        (),
        _commit_seconds,
    ),
    Metric(
        "trio_hub_write_seconds",
        "histogram",
        "How long the store took to write a transaction, sync included. Disk stores only.",
        (),
        _write_seconds,
    ),
    Metric(
        "trio_hub_write_batches",
        "histogram",
        "How many batches shared a transaction, and so a sync. Disk stores only.",
        (),
        _write_sizes,
    ),
    Metric(
        "trio_hub_store_ok",
        "gauge",
        "1 where the store kept what it was given last, 0 where it failed.",
        (),
        _one(lambda it: it.health.store.ok),
    ),
    Metric(
        "trio_hub_problems",
        "gauge",
        "Things that were set aside or found damaged; /healthz names them.",
        (),
        _one(lambda it: len(it.health.problems) + len(it.health.store.problems)),
    ),
    # Who there is
    Metric(
        "trio_hub_connections",
        "gauge",
        "Connections that are up.",
        (),
        _one(lambda it: it.health.connections),
    ),
    Metric(
        "trio_hub_connections_opened",
        "counter",
        "Connections that were ever taken.",
        (),
        _one(lambda it: it.connections_opened),
    ),
    Metric(
        "trio_hub_agents",
        "gauge",
        "Agents that are registered.",
        (),
        _one(lambda it: it.health.agents),
    ),
    Metric(
        "trio_hub_names_revoked",
        "gauge",
        "Names that operators have shut out now.",
        (),
        _one(lambda it: it.names_revoked),
    ),
    Metric(
        "trio_hub_channels",
        "gauge",
        "Channels in the store, ended ones among them.",
        (),
        _one(lambda it: it.health.channels),
    ),
    Metric(
        "trio_hub_tasks",
        "gauge",
        "Tasks in the store, ended ones among them.",
        (),
        _one(lambda it: it.health.tasks),
    ),
    Metric(
        "trio_hub_running_tasks",
        "gauge",
        "Trio tasks in the process: some for the hub, some for each connection.",
        (),
        _one(lambda it: it.tasks_running),
    ),
    # Other hubs
    Metric(
        "trio_hub_peer_up",
        "gauge",
        "1 where another hub can be reached from this one.",
        ("hub",),
        _of_peers(lambda it: it.up),
    ),
    Metric(
        "trio_hub_peer_owed",
        "gauge",
        "Envelopes that wait for another hub, or are on their way to it.",
        ("hub",),
        _of_peers(lambda it: it.owed),
    ),
    Metric(
        "trio_hub_peer_sent",
        "counter",
        "Envelopes that another hub has taken.",
        ("hub",),
        _of_peers(lambda it: it.sent),
    ),
    Metric(
        "trio_hub_peer_received",
        "counter",
        "Envelopes of another hub that were taken here.",
        ("hub",),
        _of_peers(lambda it: it.received),
    ),
    Metric(
        "trio_hub_peer_refused",
        "counter",
        "Envelopes that may not go to another hub, or that it will never take.",
        ("hub",),
        _of_peers(lambda it: it.refused),
    ),
    Metric(
        "trio_hub_peer_turned_away",
        "counter",
        "Envelopes of another hub that will never be taken here.",
        ("hub",),
        _of_peers(lambda it: it.turned_away),
    ),
    Metric(
        "trio_hub_peer_loops",
        "counter",
        "Envelopes of another hub that had been here before: two hubs have one name, or worse.",
        ("hub",),
        _of_peers(lambda it: it.loops),
    ),
    Metric(
        "trio_hub_closing",
        "gauge",
        "1 while the hub drains.",
        (),
        _one(lambda it: it.health.closing),
    ),
)
