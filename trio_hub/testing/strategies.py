"""
Hypothesis strategies for records: envelopes, passports, rules, channels, tasks.

Each makes anything that the wire can carry, not only what is usual: empty strings, any text, any
JSON as an application's data. What is left out (lone surrogates, integers beyond 64 bits,
not-a-number) no peer can send. Fix the fields that your test is about, as values or strategies;
the others vary::

    @given(envelope=envelopes(event_type=EV_TEXT, event_data=st.builds(dict, text=texts())))
    def test_my_adapter_folds_any_text(envelope): ...

`envelopes` and its like give records whose fields have nothing to do with each other.
`active_channels` makes a channel that a hub could really have.
"""

from __future__ import annotations

from typing import Any, TypeVar

import attrs
from hypothesis import reject, strategies as st

from .. import records as r
from ..errors import ProtocolError
from ..ids import iso_from_seconds
from ..protocol.adapters import ChannelAdapter

__all__ = [
    "active_channels",
    "auth_blocks",
    "channel_manifests",
    "channel_metadata",
    "durations",
    "envelopes",
    "event_types",
    "ids",
    "iso_times",
    "json_objects",
    "json_values",
    "participants",
    "passports",
    "pending_turns",
    "resumes",
    "rules",
    "task_metadata",
    "texts",
    "tuples_of",
]

T = TypeVar("T")

# From 1970 to 2200.
_SECONDS_MAX = 7_258_118_400
_INT64 = st.integers(-(2**63), 2**63 - 1)
# Whole numbers that every JSON reader keeps exactly.
_COUNTS = st.integers(0, 2**53)
_FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def texts(*, max_size: int = 30) -> st.SearchStrategy[str]:
    """Make any text that UTF-8 can hold."""
    return st.text(st.characters(codec="utf-8"), max_size=max_size)


def ids() -> st.SearchStrategy[str]:
    """Make ids: 32 hex digits."""
    return st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")


def iso_times() -> st.SearchStrategy[str]:
    """Make times of the years 1970 to 2200, as records have them."""
    return st.floats(0, _SECONDS_MAX, allow_nan=False).map(iso_from_seconds)


def durations() -> st.SearchStrategy[r.Duration]:
    """Make durations as rules have them: seconds, or a number with a unit."""
    written = st.builds(
        lambda number, unit: f"{number}{unit}", st.integers(0, 999), st.sampled_from("smhd")
    )
    return st.integers(0, 10**6) | st.floats(0, 1e6) | written


def json_values() -> st.SearchStrategy[Any]:
    """Make any JSON value, of a moderate size."""
    return st.recursive(
        st.none() | st.booleans() | _INT64 | _FLOATS | texts(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(), inner, max_size=4),
        max_leaves=10,
    )


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """Make any JSON object, such as an envelope's `event_data`."""
    return st.dictionaries(texts(), json_values(), max_size=4)


def tuples_of(
    items: st.SearchStrategy[T], *, min_size: int = 0, max_size: int = 4
) -> st.SearchStrategy[tuple[T, ...]]:
    """Make tuples of any length, which is what records have where the wire has arrays."""
    return st.lists(items, min_size=min_size, max_size=max_size).map(tuple)


def event_types() -> st.SearchStrategy[str]:
    """Make event types: those of the network, and an application's own."""
    known = [r.EV_TEXT, r.EV_PACKET, r.EV_CHANNEL_INVITE, r.EV_CHANNEL_INVITE_ACK]
    return st.sampled_from([*known, r.EV_CONTEXT_SET, "app.x"]) | texts()


def envelopes(**fields: Any) -> st.SearchStrategy[r.Envelope]:
    """Make envelopes. `fields` are fixed to a value, or drawn from a strategy of yours."""
    defaults: dict[str, Any] = {
        "channel_id": ids() | texts(),
        "sender_id": ids() | texts(),
        "audience": st.none() | tuples_of(ids()),
        "event_type": event_types(),
        "event_data": json_objects(),
        "envelope_id": st.just("") | ids(),
        "task_id": st.none() | texts(),
        "causation_id": st.none() | ids(),
        "trace_id": st.none() | texts(),
        "priority": st.sampled_from(["background", "normal", "urgent"]),
        "depth": _INT64,
        "idempotency_key": st.none() | texts(),
        "created_at": st.just("") | iso_times(),
        "ttl_seconds": st.none() | _INT64 | _FLOATS,
    }
    return _build(r.Envelope, defaults, fields)


def auth_blocks(**fields: Any) -> st.SearchStrategy[r.AuthBlock]:
    """Make auth blocks, with any claim. `fields` as for `envelopes`."""
    defaults: dict[str, Any] = {
        "scheme": texts(),
        "issuer": st.none() | texts(),
        "audience": st.none() | texts(),
        "key_fingerprint": st.none() | texts(),
        "claim": json_objects(),
    }
    return _build(r.AuthBlock, defaults, fields)


def passports(**fields: Any) -> st.SearchStrategy[r.Passport]:
    """Make passports. `fields` as for `envelopes`."""
    cost = st.builds(
        r.CostProfile,
        input_per_mtok=st.none() | _FLOATS,
        output_per_mtok=st.none() | _FLOATS,
        latency_tier=st.none() | texts(),
    )
    defaults: dict[str, Any] = {
        "name": texts().filter(bool),
        "owner": texts(),
        "provider": st.none() | texts(),
        "model": st.none() | texts(),
        "cost": st.none() | cost,
        "region": st.none() | texts(),
        "auth": auth_blocks(),
        "kind": st.sampled_from([None, "agent", "human", "remote_agent"]),
        "hub_id": st.none() | texts(),
        "version": _INT64,
        "agent_id": st.none() | ids(),
        "created_at": st.just("") | iso_times(),
    }
    return _build(r.Passport, defaults, fields)


def resumes(**fields: Any) -> st.SearchStrategy[r.Resume]:
    """Make resumes. `fields` as for `envelopes`."""
    example = st.builds(
        r.ResumeExample,
        title=texts(),
        outcome=texts(),
        task_id=st.none() | ids(),
        channel_id=st.none() | ids(),
        when=st.none() | iso_times(),
        note=texts(),
    )
    observed = st.builds(
        r.ObservedStat,
        n=_COUNTS,
        completed=_COUNTS,
        failed=_COUNTS,
        expired=_COUNTS,
        p50_latency_ms=st.none() | _COUNTS,
    )
    defaults: dict[str, Any] = {
        "claimed_capabilities": tuples_of(texts()),
        "domains": tuples_of(texts()),
        "summary": texts(),
        "examples": tuples_of(example, max_size=2),
        "observed": st.dictionaries(texts(), observed, max_size=2),
        "version": _INT64,
        "last_updated": st.just("") | iso_times(),
    }
    return _build(r.Resume, defaults, fields)


def rules(**fields: Any) -> st.SearchStrategy[r.Rule]:
    """Make rules. `fields` as for `envelopes`."""
    globs = tuples_of(texts())
    access = st.builds(
        r.AccessBlock,
        inbound_from=globs,
        outbound_to=globs,
        channel_types=st.builds(r.ChannelTypeAccess, initiate=globs, accept=globs),
    )
    limits = st.builds(
        r.LimitsBlock,
        max_concurrent_channels=_COUNTS,
        max_concurrent_tasks=_COUNTS,
        channel_ttl_default=durations(),
        task_ttl_default=durations(),
        rate=st.builds(r.RateBlock, per_minute=_COUNTS, burst=_COUNTS),
        delegation_depth=_COUNTS,
        inbox=st.builds(
            r.InboxBlock,
            max_pending=_COUNTS,
            overflow=st.sampled_from(["reject", "drop_oldest", "drop_newest"]),
            high_water=st.none() | _COUNTS,
        ),
    )
    defaults: dict[str, Any] = {"version": _INT64, "access": access, "limits": limits}
    return _build(r.Rule, defaults, fields)


def channel_manifests(**fields: Any) -> st.SearchStrategy[r.ChannelManifest]:
    """Make manifests. `fields` as for `envelopes`."""
    expectation = st.builds(
        r.Expectation,
        name=texts(),
        on_violation=texts(),
        params=json_objects(),
        applies_to=st.none() | tuples_of(texts()),
    )
    schema = st.builds(
        r.ParticipantSchema, min=_COUNTS, max=st.none() | _COUNTS, roles=tuples_of(texts())
    )
    defaults: dict[str, Any] = {
        "type": texts(),
        "version": _INT64,
        "participants": schema,
        "knobs_schema": st.dictionaries(texts(), texts(), max_size=4),
        "default_view_policy": texts(),
        "expectations": tuples_of(expectation, max_size=2),
    }
    return _build(r.ChannelManifest, defaults, fields)


def participants(**fields: Any) -> st.SearchStrategy[r.Participant]:
    """Make participants. `fields` as for `envelopes`."""
    defaults: dict[str, Any] = {
        "agent_id": ids(),
        "role": st.sampled_from(r.ParticipantRole),
        "order": _COUNTS,
        "joined_at": st.just("") | iso_times(),
    }
    return _build(r.Participant, defaults, fields)


def channel_metadata(**fields: Any) -> st.SearchStrategy[r.ChannelMetadata]:
    """Make any metadata, sensible or not. `fields` as for `envelopes`; see `active_channels`."""
    defaults: dict[str, Any] = {
        "channel_id": ids(),
        "manifest": channel_manifests(),
        "creator_id": ids(),
        "participants": tuples_of(participants()),
        "state": st.sampled_from(r.ChannelState),
        "created_at": iso_times(),
        "expires_at": st.none() | iso_times(),
        "closed_at": st.none() | iso_times(),
        "close_reason": texts(),
        "parent_channel_id": st.none() | ids(),
        "knobs": json_objects(),
        "labels": st.dictionaries(texts(), texts(), max_size=4),
        "required_acks": st.none() | _COUNTS,
        "pending_acks": tuples_of(ids()),
        "rejected_by": tuples_of(ids()),
    }
    return _build(r.ChannelMetadata, defaults, fields)


def task_metadata(**fields: Any) -> st.SearchStrategy[r.TaskMetadata]:
    """Make tasks. `fields` as for `envelopes`."""
    spec = st.builds(
        r.TaskSpec,
        title=texts(),
        description=texts(),
        payload=json_objects(),
        capability=st.none() | texts(),
    )
    times = st.none() | iso_times()
    defaults: dict[str, Any] = {
        "task_id": texts(),
        "owner_id": ids(),
        "spec": spec,
        "state": st.sampled_from(r.TaskState),
        "created_at": st.just("") | iso_times(),
        "started_at": times,
        "completed_at": times,
        "expires_at": times,
        "last_progress_at": times,
        "progress": json_objects(),
        "result": json_values(),
        "error": texts(),
        "channel_id": st.none() | ids(),
    }
    return _build(r.TaskMetadata, defaults, fields)


def pending_turns(**fields: Any) -> st.SearchStrategy[r.PendingTurn]:
    """Make pending turns. `fields` as for `envelopes`."""
    defaults: dict[str, Any] = {
        "channel_id": ids(),
        "triggering_envelope_id": st.none() | ids(),
        "expected_at": iso_times(),
    }
    return _build(r.PendingTurn, defaults, fields)


@st.composite
def active_channels(
    draw: st.DrawFn,
    adapter: ChannelAdapter,
    *,
    agents_max: int = 5,
    knobs: st.SearchStrategy[dict[str, Any]] | None = None,
) -> r.ChannelMetadata:
    """
    Make channels of an adapter's type in which everybody has accepted and may speak.

    Only those that its `validate_create` takes; agents are called ``agent-0`` and so on, and the
    first one has opened the channel.

    Args:
        adapter: Whose type.
        agents_max: How many take part at most, where the manifest sets no lower bound.
        knobs: Makes the knobs; by default there are none.
    """
    schema = adapter.manifest.participants
    bound = agents_max if schema.max is None else min(agents_max, schema.max)
    size = draw(st.integers(max(1, schema.min), max(1, schema.min, bound)))
    names = [f"agent-{number}" for number in range(size)]
    other = r.ParticipantRole.RESPONDENT if size == 2 else r.ParticipantRole.PARTICIPANT
    created_at = iso_from_seconds(0)
    metadata = r.ChannelMetadata(
        channel_id="channel",
        manifest=adapter.manifest,
        creator_id=names[0],
        participants=tuple(
            r.Participant(
                agent_id=name,
                role=r.ParticipantRole.INITIATOR if order == 0 else other,
                order=order,
                joined_at=created_at,
            )
            for order, name in enumerate(names)
        ),
        state=r.ChannelState.ACTIVE,
        created_at=created_at,
        knobs=draw(knobs) if knobs is not None else {},
    )
    try:
        adapter.validate_create(attrs.evolve(metadata, state=r.ChannelState.PENDING))
    except ProtocolError:
        # One that cannot be is no example.
        reject()
    return metadata


def _build(cls: type[T], defaults: dict[str, Any], fields: dict[str, Any]) -> st.SearchStrategy[T]:
    unknown = sorted(fields.keys() - defaults.keys())
    if unknown:
        raise TypeError(f"{cls.__name__} has no field {', '.join(unknown)}")
    chosen = {
        name: value if isinstance(value, st.SearchStrategy) else st.just(value)
        for name, value in {**defaults, **fields}.items()
    }
    return st.builds(cls, **chosen)
