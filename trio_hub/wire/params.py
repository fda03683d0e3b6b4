"""
The parameters of every operation, typed; what an operation means stands in `wire.operations`.

Optional ones have AG2's defaults. AG2 sends ``null`` for an option that was not given, so an
option whose default is not None says what None means.
"""

from __future__ import annotations

from typing import Any, Literal

import attrs

from ..protocol.discovery import PeerQuery
from ..protocol.federation import AgentCard, Crossing
from ..records import (
    DeliveryRule,
    Duration,
    Envelope,
    Expectation,
    OperatorRule,
    Passport,
    PassportKind,
    Resume,
    Rule,
    TaskMetadata,
    TaskState,
)

_not_negative: Any = attrs.validators.ge(0)
_positive: Any = attrs.validators.gt(0)
_optional_not_negative: Any = attrs.validators.optional(_not_negative)

#: What `limit` means where it is not given, as in AG2.
LIST_LIMIT_DEFAULT = 50
#: How long the hub holds a request that waits for a task or its lease: whoever has stopped waiting
#: without a word occupies one of its connection's places for no longer.
TASK_WAIT_SECONDS_MAX = 60.0
#: The longest lease on a task: one that is longer than a day should be renewed sooner.
LEASE_SECONDS_MAX = 86_400.0
#: What a worker may call itself; a random word or two, which is kept with the lease.
HOLDER_CHARACTERS_MAX = 200
#: The longest id of a task: it becomes part of paths, and stands in many records.
TASK_ID_CHARACTERS_MAX = 200
#: The name of a capability that is counted; it stands in a resume that everybody reads.
CAPABILITY_CHARACTERS_MAX = 200
#: Records of the audit log in one answer, which stays well below the limits of any link.
AUDIT_RECORDS_MAX = 1_000


@attrs.frozen(kw_only=True)
class Nothing:
    """No parameters."""


@attrs.frozen(kw_only=True)
class Register:
    """A new identity."""

    passport: Passport
    resume: Resume = attrs.field(factory=Resume)
    rule: Rule | None = None
    skill_md: str | None = None


@attrs.frozen(kw_only=True)
class OfAgent:
    """One agent, by id."""

    agent_id: str


@attrs.frozen(kw_only=True)
class OfAgentByNameOrId:
    """One agent, by name or id."""

    name_or_id: str


@attrs.frozen(kw_only=True)
class OfName:
    """One agent, by name."""

    name: str


@attrs.frozen(kw_only=True)
class OfAgents:
    """Several agents, by id."""

    agent_ids: tuple[str, ...]


@attrs.frozen(kw_only=True)
class ListAgents:
    """
    Which agents to list: those that meet all that is given, behind `after` (the id of one, in order
    of registration; null: from the first).
    """

    capability: str | None = None
    query: str | None = None
    kind: PassportKind | None = None
    sort_by: str | None = None
    limit: int | None = attrs.field(default=LIST_LIMIT_DEFAULT, validator=_optional_not_negative)
    after: str | None = None


@attrs.frozen(kw_only=True)
class FindPeers(PeerQuery):
    """Whom an agent is looking for: those that meet all that is given, behind `after`."""

    agent_id: str


@attrs.frozen(kw_only=True)
class SetResume:
    """A new resume for an agent."""

    agent_id: str
    resume: Resume


@attrs.frozen(kw_only=True)
class SetSkill:
    """A new skill page for an agent; null removes it."""

    agent_id: str
    skill_md: str | None = None


@attrs.frozen(kw_only=True)
class SetRule:
    """A new rule for an agent."""

    agent_id: str
    rule: Rule


@attrs.frozen(kw_only=True)
class SetDeliveryRule:
    """How an agent is to be delivered to."""

    agent_id: str
    rule: DeliveryRule


@attrs.frozen(kw_only=True)
class SetOperatorRule:
    """What operators set for whoever has a name, now or later; null clears it."""

    name: str
    rule: OperatorRule | None


@attrs.frozen(kw_only=True)
class ListOperatorRules:
    """How many names at most, and behind which one (null: from the first)."""

    limit: int = attrs.field(default=LIST_LIMIT_DEFAULT, validator=attrs.validators.ge(1))
    after: str | None = None


@attrs.frozen(kw_only=True)
class RevokeAgent:
    """Whom to shut out, and why."""

    name: str
    reason: str


@attrs.frozen(kw_only=True)
class ListRevocations:
    """How many at most, and behind which name (null: from the first)."""

    limit: int = attrs.field(default=LIST_LIMIT_DEFAULT, validator=attrs.validators.ge(1))
    after: str | None = None


@attrs.frozen(kw_only=True)
class CreateChannel:
    """
    A new channel.

    `expectations` are in place of those of the type; null leaves those as they are. With an
    `idempotency_key`, asking again for the same creator and key gives the channel that
    was opened first.
    """

    creator_id: str
    manifest_type: str
    manifest_version: int = 1
    participants: tuple[str, ...]
    required_acks: int | None = attrs.field(default=None, validator=_optional_not_negative)
    ttl: Duration | None = None
    knobs: dict[str, Any] | None = None
    intent: str | None = None
    labels: dict[str, str] | None = None
    expectations: tuple[Expectation, ...] | None = None
    idempotency_key: str | None = None


@attrs.frozen(kw_only=True)
class OfChannel:
    """One channel."""

    channel_id: str


@attrs.frozen(kw_only=True)
class OfEnvelope:
    """One envelope of a channel."""

    channel_id: str
    envelope_id: str


@attrs.frozen(kw_only=True)
class CloseChannel:
    """One channel, and why it is closed."""

    channel_id: str
    reason: str | None = ""


@attrs.frozen(kw_only=True)
class ListChannels:
    """
    Whose channels to list (null: everybody's who is bound here), oldest first, behind `after` (the
    `created_at`, a space and the `channel_id` of one; null: from the first).
    """

    agent_id: str | None = None
    limit: int | None = attrs.field(default=LIST_LIMIT_DEFAULT, validator=_optional_not_negative)
    after: str | None = None
    include_terminal: bool = True


@attrs.frozen(kw_only=True)
class PendingTurnsFor:
    """
    Whose turns to list, by channel id, behind `after` (one of those; null: from the first); with a
    `channel_id` only the one of that channel.
    """

    agent_id: str
    after: str | None = None
    channel_id: str | None = None


@attrs.frozen(kw_only=True)
class PostEnvelope:
    """An envelope to post."""

    envelope: Envelope


@attrs.frozen(kw_only=True)
class ReadWal:
    """A slice of a channel's log by position: `since` inclusive, `until` exclusive."""

    channel_id: str
    since: int | None = attrs.field(default=0, validator=_optional_not_negative)
    until: int | None = attrs.field(default=None, validator=_optional_not_negative)


@attrs.frozen(kw_only=True)
class ReadTail:
    """
    The last `limit` envelopes that the caller may see, below position `before` (null: all); those
    that agents have `said`, or all. There are fewer where they would not fit into an answer.
    """

    channel_id: str
    before: int | None = attrs.field(default=None, validator=_optional_not_negative)
    limit: int = attrs.field(default=LIST_LIMIT_DEFAULT, validator=attrs.validators.ge(1))
    said: bool = False


@attrs.frozen(kw_only=True)
class FindEnvelopeByCausation:
    """An envelope that `sender_id` posted because of `causation_id`."""

    channel_id: str
    sender_id: str
    causation_id: str


@attrs.frozen(kw_only=True)
class CanSend:
    """Whether `sender_id` could post an envelope of that type now."""

    channel_id: str
    sender_id: str
    event_type: str | None = None


@attrs.frozen(kw_only=True)
class ReportTurnFailure:
    """A handler's failure, told by the agent whose it was."""

    channel_id: str
    agent_id: str
    envelope_id: str
    error: str = ""


@attrs.frozen(kw_only=True)
class ObserveTask:
    """A task that its owner wants the hub to know of."""

    metadata: TaskMetadata


@attrs.frozen(kw_only=True)
class UpdateTask:
    """What changed about a task."""

    task_id: str
    state: TaskState | None = None
    progress: dict[str, Any] | None = None
    result: Any = None
    error: str | None = None


@attrs.frozen(kw_only=True)
class OfTask:
    """One task."""

    task_id: str


@attrs.frozen(kw_only=True)
class ListTasks:
    """
    Which tasks to list: those that meet all that is given and that the caller may see, oldest
    first, behind `after` (the `created_at`, a space and the `task_id` of one; null: from the
    first). There may be fewer in an answer than `limit`.
    """

    agent_id: str | None = None
    channel_id: str | None = None
    state: TaskState | None = None
    limit: int | None = attrs.field(default=LIST_LIMIT_DEFAULT, validator=_optional_not_negative)
    after: str | None = None


@attrs.frozen(kw_only=True)
class WaitTask:
    """One task, and how long to wait for its end before it is shown as it is."""

    task_id: str
    wait_seconds: float = attrs.field(
        default=TASK_WAIT_SECONDS_MAX,
        validator=[_not_negative, attrs.validators.le(TASK_WAIT_SECONDS_MAX)],
    )


@attrs.frozen(kw_only=True)
class RecordObservation:
    """How a task that exercised a capability ended."""

    owner_id: str
    capability: str = attrs.field(validator=attrs.validators.max_len(CAPABILITY_CHARACTERS_MAX))
    outcome: TaskState
    latency_ms: int | None = attrs.field(default=None, validator=_optional_not_negative)
    task_id: str | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.max_len(TASK_ID_CHARACTERS_MAX)),
    )


@attrs.frozen(kw_only=True)
class FireTaskEvent:
    """A task event for the hub's listeners."""

    task_id: str
    kind: Literal["mirror_failed"]
    payload: dict[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class CheckpointTask:
    """The state that a task's owner wants back after a restart."""

    task_id: str
    state: dict[str, Any]


@attrs.frozen(kw_only=True)
class SwapTaskCheckpoint:
    """
    A state that goes on from the one of `generation`, and is refused where there is another;
    under the lease of `holder`, where the writer has one.
    """

    task_id: str
    state: dict[str, Any]
    generation: int = attrs.field(validator=_not_negative)
    idempotency_key: str | None = None
    holder: str | None = None


@attrs.frozen(kw_only=True)
class LeaseTask:
    """
    The lease on a task for a worker (`holder`, any text of its own that nobody else has), for so
    many seconds, and how long to wait for that of another.
    """

    task_id: str
    holder: str = attrs.field(validator=attrs.validators.max_len(HOLDER_CHARACTERS_MAX))
    seconds: float = attrs.field(validator=[_positive, attrs.validators.le(LEASE_SECONDS_MAX)])
    wait_seconds: float = attrs.field(
        default=0.0, validator=[_not_negative, attrs.validators.le(TASK_WAIT_SECONDS_MAX)]
    )


@attrs.frozen(kw_only=True)
class ReleaseTask:
    """A task, and the worker that gives its lease back."""

    task_id: str
    holder: str


@attrs.frozen(kw_only=True)
class ListDeadLetters:
    """
    Whose dead letters to list (null: everybody's), and behind what (null: from the first): the
    `after` of an earlier page, or an envelope id to begin with.
    """

    agent_id: str | None = None
    limit: int = attrs.field(default=LIST_LIMIT_DEFAULT, validator=attrs.validators.ge(1))
    after: str | None = None


@attrs.frozen(kw_only=True)
class ReadAudit:
    """
    Which records of the audit log: of a kind, an agent, a channel, from a time until before
    another (ISO 8601), and before a position (null: all).
    """

    kind: str | None = None
    agent_id: str | None = None
    channel_id: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int = attrs.field(
        default=LIST_LIMIT_DEFAULT,
        validator=[attrs.validators.ge(1), attrs.validators.le(AUDIT_RECORDS_MAX)],
    )
    before: int | None = attrs.field(default=None, validator=_optional_not_negative)


@attrs.frozen(kw_only=True)
class OfDeadLetter:
    """One dead letter: whom it was for, and its envelope."""

    agent_id: str
    envelope_id: str


@attrs.frozen(kw_only=True)
class CrossEnvelope:
    """An envelope of another hub."""

    crossing: Crossing


@attrs.frozen(kw_only=True)
class CrossAgents:
    """
    Some agents of the hub that calls, which takes the other for hub `to`; with `more` to follow.

    All parts of one list have the same `serial`, and a later list has a greater one.
    """

    to: str
    serial: str
    cards: tuple[AgentCard, ...] = ()
    more: bool = False


@attrs.frozen(kw_only=True)
class CrossCanSend:
    """Whether an agent of the hub that calls, by its address, could post now."""

    channel_id: str
    sender: str
    event_type: str | None = None
