"""Who somebody is: the passport, the resume, and how they prove it."""

from __future__ import annotations

from typing import Any, Literal

import attrs

__all__ = [
    "AuthBlock",
    "CostProfile",
    "ObservedStat",
    "Passport",
    "PassportKind",
    "Resume",
    "ResumeExample",
    "TrackRecord",
    "without_claim",
]

PassportKind = Literal["agent", "human", "remote_agent"]


@attrs.frozen(kw_only=True)
class CostProfile:
    """Hints for choosing among agents. The hub carries them and does not interpret them."""

    input_per_mtok: float | None = None
    output_per_mtok: float | None = None
    latency_tier: str | None = None


@attrs.frozen(kw_only=True)
class AuthBlock:
    """
    How an identity proves itself.

    Attributes:
        scheme: The `AuthAdapter` that checks it, such as ``"api_key"``.
        claim: What that adapter wants to see, such as ``{"token": "..."}``. Checked once, then
            dropped: a hub never stores, returns or logs it, and it is left out of the repr.
    """

    scheme: str = "none"
    issuer: str | None = None
    audience: str | None = None
    key_fingerprint: str | None = None
    claim: dict[str, Any] = attrs.field(factory=dict, repr=False)


@attrs.frozen(kw_only=True)
class Passport:
    """
    One registration: a name and the facts about whoever bears it.

    Attributes:
        name: How people and agents address it; unique in a hub.
        kind: None means "agent".
        hub_id: The hub it lives in, for a remote agent.
        agent_id: 32 hex digits, stamped by the hub at registration; as is `created_at`.
    """

    name: str = attrs.field(validator=attrs.validators.min_len(1))
    owner: str = ""
    provider: str | None = None
    model: str | None = None
    cost: CostProfile | None = None
    region: str | None = None
    auth: AuthBlock = AuthBlock()
    kind: PassportKind | None = attrs.field(
        default=None, validator=attrs.validators.in_((None, "agent", "human", "remote_agent"))
    )
    hub_id: str | None = None
    version: int = 1
    agent_id: str | None = None
    created_at: str = ""

    @property
    def stamped_id(self) -> str:
        """The id, of a passport that a hub has stamped: one that comes from a hub is."""
        assert self.agent_id is not None, f"{self.name!r} was not registered"
        return self.agent_id

    @property
    def effective_kind(self) -> PassportKind:
        """The kind, with None read as "agent"."""
        return self.kind or "agent"


def without_claim(passport: Passport) -> Passport:
    """Return `passport` in the only form that may be stored, returned or logged."""
    if not passport.auth.claim:
        return passport
    return attrs.evolve(passport, auth=attrs.evolve(passport.auth, claim={}))


@attrs.frozen(kw_only=True)
class ResumeExample:
    """Something an agent did, told by itself."""

    title: str
    outcome: str = ""
    task_id: str | None = None
    channel_id: str | None = None
    when: str | None = None
    note: str = ""


@attrs.frozen(kw_only=True)
class ObservedStat:
    """What the hub itself saw of one capability: how many tasks ended how."""

    n: int = 0
    completed: int = 0
    failed: int = 0
    expired: int = 0
    p50_latency_ms: int | None = None


@attrs.frozen(kw_only=True)
class TrackRecord(ObservedStat):
    """
    The same, and more of how long they took; percentiles are off by 1 % at most.

    A record of its own: AG2 refuses a resume with fields that it does not know.
    """

    p95_latency_ms: int | None = None
    p99_latency_ms: int | None = None

    @property
    def success_rate(self) -> float | None:
        """The share of those that were completed, from 0 to 1; None where there were none."""
        return self.completed / self.n if self.n else None


@attrs.frozen(kw_only=True)
class Resume:
    """What an agent says it can do, and what was observed of it."""

    claimed_capabilities: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    summary: str = ""
    examples: tuple[ResumeExample, ...] = ()
    observed: dict[str, ObservedStat] = attrs.field(factory=dict)
    version: int = 1
    last_updated: str = ""
