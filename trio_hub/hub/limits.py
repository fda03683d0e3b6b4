"""Every limit of a hub, with its default, its unit, and why it is what it is."""

from __future__ import annotations

from typing import Any

import attrs

__all__ = ["HubLimits"]

_positive: Any = attrs.validators.gt(0)
_positive_or_none: Any = attrs.validators.optional(_positive)
_MIB = 1024 * 1024
_SECONDS = {"unit": "seconds"}
_AGENTS = {"unit": "agents"}
_NAMES = {"unit": "names"}
_TASKS = {"unit": "tasks"}
_FAILURES_A_MINUTE = {"unit": "failures a minute"}


@attrs.frozen(kw_only=True)
class HubLimits:
    """
    What one hub takes.

    Attributes:
        envelope_bytes_max: An envelope as it stands in the log. The links let a little more
            through (the frame around it), so that what is accepted can always be delivered.
            8 MiB: a long document; NATS stops at 1 MiB by default, Kafka at 1 MiB, gRPC at 4.
        requests_in_flight_max: Unanswered requests of one connection; then it is not read
            until some are answered. 256 keep a pipelining client busy over a slow disk.
        request_bytes_in_flight_max: The same in bytes: a connection that has so much unanswered is
            not read either. What it posts is in memory until it is on disk; this is two of the
            largest envelopes.
        malformed_frames_per_minute: Frames that are none, of one connection, on top of as many
            at once; then it is closed, with the reason. A client in good order sends none, and
            a hundred errors are enough for its author to see what is wrong.
        authentication_seconds: How long a connection may act for nobody, on a hub that wants
            credentials; then it is closed, with the reason. A client attaches at once; this is
            for slow lines.
        unauthenticated_connections_max: Connections that act for nobody yet, on such a hub, those
            that still shake hands among them; for one more, the one that has waited longest is
            closed. Fewer than the places of a port,
            so that nobody without a credential can take them all.
        names_before_authentication_max: Names that one connection may ask about before it acts
            for anybody, on such a hub. A client asks about each name that it is going to attach
            as; whoever tries names needs another connection for every so many.
        failed_authentications_per_minute: Credentials of one name, from one address, that are
            refused in a minute, on top of as many at once; then the next wait, the right one
            too. None for no limit, as behind a proxy, where everybody has its address. A
            client with the wrong key stops by itself, or is looped by something that should not.
        failed_authentications_per_address_per_minute: The same for all names together. More than
            for one, so that one wrong key does not slow down the other agents of a machine.
        failed_authentications_kept_max: Addresses, and names at addresses, of which failures are
            remembered; then the one that failed longest ago is forgotten. A few megabytes.
        identities_per_connection_max: Agents bound to one connection.
        participants_max: Members of one channel, and ids in one audience. A post costs something
            for each of them.
        expectations_max: Expectations of one channel. Each is looked at whenever one is due; the
            types that ship have one or two.
        expectation_seconds_min: The shortest time that an expectation may set. What follows from
            one is posted to many and audited, so it must not follow from every post at once.
        page_records_max: Envelopes in one answer of `read_tail`, letters in one of
            `list_dead_letters`, names in one of `list_operator_rules`, and what is read of a store
            at once. Those who want more go on from there. Answers of `read_wal` and `read_tail`
            are bounded by the message limit of the link too, and little more is read for them.
        dead_letters_per_agent_max: Dead letters of one agent that are kept; then the oldest that
            nobody is replaying is discarded for each new one, and audited. 10,000 are a few
            megabytes, and more than anybody goes through. An inbox that stopped instead would
            let one poisonous sender silence an agent.
        agents_per_answer_max: Agents in one answer of `list_agents`; whoever wants more goes on
            behind the last one, or asks `find_peers`, which has pages. 1,000 passports are some
            hundred kilobytes, and the peers of AG2 take a megabyte.
        names_per_request_max: Ids in one question of `names_for`. More than the members of a
            channel, all of whom AG2's clients ask about at once; some milliseconds of work.
        channels_per_answer_max: Channels in one answer of `list_channels`; whoever wants more goes
            on behind the last one. With few participants, 1,000 are less than a megabyte.
        turns_per_answer_max: Turns in one answer of `pending_turns_for`; the others are there to
            be asked for behind them, or once these were taken. A log may be read for each.
        task_bytes_max: A task as the hub keeps it, with all that was ever told of its progress, its
            result and its payload. What peers of AG2 take; a result that is larger belongs into an
            envelope, or is kept elsewhere. All tasks are in memory.
        tasks_per_answer_max: Tasks in one answer of `list_tasks`; whoever wants more goes on
            behind the last one.
        ended_tasks_per_owner_max: Ended tasks of one agent that are kept, with their
            checkpoints; then the one that ended first goes for each new one. 10,000 are as many
            as dead letters: without a bound a busy agent would fill memory and disk with work
            that is done.
        observed_capabilities_max: Capabilities of one agent whose tasks are counted. Each has its
            place in the resume that everybody reads, and up to 15 kB beside it.
        operator_rules_max: Names for which operators may set a rule. All of them are written as
            one list with every change, which is a megabyte then.
        revocations_max: Names that operators may have revoked at a time. They are written as the
            rules are.
        snapshot_records: After how many records of a channel's log a snapshot of it is kept. A
            channel that is used for the first time after a crash folds twice as many at the most.
        cursor_flush_seconds: How far behind cursors are written. What a crash costs is that so
            much is delivered again.
        id_lease_seconds: How far ahead of the clock ids are reserved on disk. After a crash,
            the first new id may lie so far in the future; order is never broken.
    """

    envelope_bytes_max: int = attrs.field(
        default=8 * _MIB, validator=_positive, metadata={"unit": "bytes"}
    )
    requests_in_flight_max: int = attrs.field(
        default=256, validator=_positive, metadata={"unit": "requests"}
    )
    request_bytes_in_flight_max: int = attrs.field(
        default=16 * _MIB, validator=_positive, metadata={"unit": "bytes"}
    )
    malformed_frames_per_minute: int = attrs.field(
        default=100, validator=_positive, metadata={"unit": "frames a minute"}
    )
    authentication_seconds: float = attrs.field(
        default=30.0, validator=_positive, metadata=_SECONDS
    )
    unauthenticated_connections_max: int = attrs.field(
        default=1_000, validator=_positive, metadata={"unit": "connections"}
    )
    names_before_authentication_max: int = attrs.field(
        default=16, validator=_positive, metadata=_NAMES
    )
    failed_authentications_per_minute: int | None = attrs.field(
        default=10, validator=_positive_or_none, metadata=_FAILURES_A_MINUTE
    )
    failed_authentications_per_address_per_minute: int | None = attrs.field(
        default=100, validator=_positive_or_none, metadata=_FAILURES_A_MINUTE
    )
    failed_authentications_kept_max: int = attrs.field(
        default=10_000, validator=_positive, metadata={"unit": "addresses and names"}
    )
    identities_per_connection_max: int = attrs.field(
        default=10_000, validator=_positive, metadata=_AGENTS
    )
    participants_max: int = attrs.field(default=1_000, validator=_positive, metadata=_AGENTS)
    expectations_max: int = attrs.field(
        default=16, validator=_positive, metadata={"unit": "expectations"}
    )
    expectation_seconds_min: float = attrs.field(
        default=1.0, validator=_positive, metadata=_SECONDS
    )
    page_records_max: int = attrs.field(
        default=1_000, validator=_positive, metadata={"unit": "records"}
    )
    dead_letters_per_agent_max: int = attrs.field(
        default=10_000, validator=_positive, metadata={"unit": "letters"}
    )
    agents_per_answer_max: int = attrs.field(default=1_000, validator=_positive, metadata=_AGENTS)
    names_per_request_max: int = attrs.field(
        default=10_000, validator=_positive, metadata={"unit": "ids"}
    )
    channels_per_answer_max: int = attrs.field(
        default=1_000, validator=_positive, metadata={"unit": "channels"}
    )
    turns_per_answer_max: int = attrs.field(
        default=1_000, validator=_positive, metadata={"unit": "turns"}
    )
    task_bytes_max: int = attrs.field(
        default=1 * _MIB, validator=_positive, metadata={"unit": "bytes"}
    )
    tasks_per_answer_max: int = attrs.field(default=1_000, validator=_positive, metadata=_TASKS)
    ended_tasks_per_owner_max: int = attrs.field(
        default=10_000, validator=_positive, metadata=_TASKS
    )
    observed_capabilities_max: int = attrs.field(
        default=1_000, validator=_positive, metadata={"unit": "capabilities"}
    )
    operator_rules_max: int = attrs.field(default=10_000, validator=_positive, metadata=_NAMES)
    revocations_max: int = attrs.field(default=10_000, validator=_positive, metadata=_NAMES)
    snapshot_records: int = attrs.field(
        default=1_000, validator=_positive, metadata={"unit": "records"}
    )
    cursor_flush_seconds: float = attrs.field(default=1.0, validator=_positive, metadata=_SECONDS)
    id_lease_seconds: float = attrs.field(default=60.0, validator=_positive, metadata=_SECONDS)
