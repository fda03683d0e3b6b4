"""What a hub can be asked about identities, by a caller in the same process."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ..auth import AuthRegistry
from ..errors import ProtocolError
from ..ids import seconds_from_iso
from ..protocol.discovery import Described, PeerQuery, first_of, may_ask, page_of
from ..protocol.federation import MIRROR_PREFIX
from ..records import (
    DeliveryRule,
    Passport,
    PassportKind,
    PeerPage,
    Resume,
    Rule,
    TaskMetadata,
    TaskState,
    TrackRecord,
    without_claim,
)
from ..wire.params import ListAgents
from .admission import Admission, check_rule
from .announcer import Announcer
from .attempts import Attempts
from .ceilings import may_speak
from .channels import ChannelBook
from .connection import Connection
from .deliveries import Deliveries
from .gate import Gate
from .listing import list_agents, list_agents_at_once, look_through
from .operators import Operators
from .reception import Reception
from .registry import Registration, Registry
from .remote_agents import REMOTE_KIND, RemoteAgents
from .revocations import Revocations

__all__ = ["IdentityApi"]


class IdentityApi:
    """The part of `Hub` that is about who there is. `Hub` fills in what it works with."""

    channels: ChannelBook
    _gate: Gate
    _auth: AuthRegistry
    _registry: Registry
    _operators: Operators
    _deliveries: Deliveries
    _reception: Reception
    _admission: Admission
    _announcer: Announcer
    _attempts: Attempts
    _remote_agents: RemoteAgents
    _revocations: Revocations

    async def register(
        self,
        passport: Passport,
        resume: Resume | None = None,
        *,
        skill_md: str | None = None,
        rule: Rule | None = None,
        connection: Connection | None = None,
    ) -> Passport:
        """
        Register an identity and return its stamped passport, without the claim.

        Args:
            connection: Bind it to this one at once.

        Raises:
            AuthError: Its credential was refused, or is none and the name is an operator's.
            AgentRevoked: Its credential is good, and an operator has revoked the name. Where that
                happened while it was being kept, it is registered, and nobody acts for it.
            RateLimited: Too many credentials were refused to the connection's address.
            AccessDeniedError: The arbiter does not allow it.
            ProtocolError: The name is taken or impossible, or the globs of its rule are too many.
            StoreError: It could not be kept.

        Cancellation: the registration may or may not happen.
        """
        self._gate.check()
        if connection is not None:
            self._reception.check_identities(connection)
            if passport.name.startswith(MIRROR_PREFIX):
                raise ProtocolError(
                    f"names that begin with {MIRROR_PREFIX!r} are those of agents of other hubs"
                )
        await self._announcer.room()
        credential = None
        if connection is not None:
            scheme, claim = passport.auth.scheme, connection.claim_of(passport.auth.claim)
            async with self._attempts.attempt(
                connection.connection_id, connection.endpoint.peer, passport.name, scheme
            ):
                self._operators.check_name(passport)
                credential = await self._auth.check(
                    passport, scheme, claim, connection.endpoint.facts
                )
                self._revocations.check(passport.name)
        else:
            self._operators.check_name(passport)
            # A remote agent's scheme names its proxy, and it never comes by itself.
            if passport.effective_kind != REMOTE_KIND:
                await self._auth.check(passport, passport.auth.scheme, passport.auth.claim)
        resume = resume if resume is not None else Resume()
        rule = rule if rule is not None else Rule()
        self._admission.check_register(without_claim(passport), resume, rule)
        registration = await self._registry.register(passport, resume, rule, skill_md)
        self._deliveries.add_agent(registration.agent_id, registration.rule.limits.inbox)
        self._announcer.registered(registration.passport)
        if connection is not None:
            self._revocations.check(passport.name)
            self._reception.bind(connection, registration.agent_id, credential)
        else:
            self._remote_agents.registered(registration.passport)
        return registration.passport

    async def unregister(self, agent_id: str, *, by: str = "hub") -> None:
        """
        Remove an identity for good. Channels and what it said stay, for the others.

        Args:
            by: Who wants it, for the audit log; here and below: a name or an id.
        """
        registration = await self._registry.unregister(agent_id)
        binding = self._deliveries.binding_of(agent_id)
        if isinstance(binding, Connection):
            binding.bound.pop(registration.agent_id, None)
            self._reception.unbound(binding)
        self._reception.forget(registration.agent_id)
        self._remote_agents.unregistered(agent_id)
        self._deliveries.remove_agent(agent_id, self.channels.of_agent(agent_id))
        self._admission.forget(registration.passport.name)
        self._announcer.unregistered(registration.passport, by)

    def get_agent(self, name_or_id: str) -> Passport:
        """Return a passport. Raises `NotFoundError`."""
        return self._registry.resolve(name_or_id).passport

    def find_agent_id(self, name: str) -> str | None:
        """Return the id of a name, or None."""
        return self._registry.id_of(name)

    def name_for(self, agent_id: str, *, default: str | None = None) -> str:
        """Return the name of an id; `default`, or the id itself, where there is none."""
        return self._registry.name_of(agent_id, default)

    def list_agents(
        self,
        *,
        capability: str | None = None,
        query: str | None = None,
        kind: PassportKind | None = None,
        sort_by: str | None = None,
        limit: int | None = None,
    ) -> list[Passport]:
        """
        Return the passports of those that meet everything that is given.

        Args:
            capability: One that is claimed, or was observed.
            query: Text, in any case, in the name, the summary, a domain or a capability.
            kind: "agent", "human" or "remote_agent".
            sort_by: "name", "created_at", or "observed" (most completed first); otherwise in
                order of registration.
            limit: At most so many; None is all.

        Raises:
            ProtocolError: An unknown `sort_by`.
        """
        wanted = ListAgents(
            capability=capability, query=query, kind=kind, sort_by=sort_by, limit=limit
        )
        return list_agents_at_once(self._registry, wanted)

    async def find_agents(self, wanted: ListAgents, *, most: int) -> list[Passport]:
        """Return the same so many at a time, while others have their turn. See `listing`."""
        return await list_agents(self._registry, wanted, most=most)

    def get_resume(self, agent_id: str) -> Resume:
        """Return a resume. Raises `NotFoundError`."""
        return self._registry.get(agent_id).resume

    async def find_peers(self, asker_id: str, query: PeerQuery) -> PeerPage:
        """
        Return a page of those that an agent could ask. See `Peers.find`.

        Of many agents it looks through some at a time, so that nobody waits for it.

        Raises:
            NotFoundError: There is no such agent.
            ProtocolError: `after` is not of an earlier page.

        Cancellation: nothing happens.
        """
        asker = self._registry.get(asker_id)
        first: list[Described] = []

        def look(portion: Sequence[Registration]) -> None:
            others = (
                it
                for it in portion
                if may_ask(asker.passport, asker.rule, it.passport, it.rule)
                and may_speak(asker, it)
            )
            first.extend(first_of(others, query))

        await look_through(self._registry, look)
        return page_of(first, query)

    def get_track_record(self, agent_id: str) -> dict[str, TrackRecord]:
        """Return what was observed of an agent, by capability. Raises `NotFoundError`."""
        return self._registry.track_record(agent_id)

    def get_skill(self, agent_id: str) -> str | None:
        """Return a skill page, or None. Raises `NotFoundError`."""
        return self._registry.get(agent_id).skill_md

    def get_rule(self, agent_id: str) -> Rule:
        """Return the rule that an agent set for itself. Raises `NotFoundError`."""
        return self._registry.get(agent_id).own_rule

    def get_delivery_rule(self, agent_id: str) -> DeliveryRule:
        """Return what of the hub's delivery is different for an agent. Raises `NotFoundError`."""
        return self._registry.get(agent_id).delivery

    async def set_resume(self, agent_id: str, resume: Resume, *, by: str = "hub") -> None:
        """Replace a resume; its version goes up, what the hub observed stays."""
        await self._registry.set_resume(agent_id, resume)
        self._announcer.resume_set(agent_id, self._registry.get(agent_id).resume.version, by)

    async def set_skill(self, agent_id: str, skill_md: str | None, *, by: str = "hub") -> None:
        """Replace or remove a skill page."""
        await self._registry.set_skill(agent_id, skill_md)
        self._announcer.skill_set(agent_id, by, removed=skill_md is None)

    async def set_rule(self, agent_id: str, rule: Rule, *, by: str = "hub") -> None:
        """
        Replace the rule that an agent sets for itself, beside which that of operators stays in force.

        It holds from the next post, opening and handing over on.

        When this returns, the audit log says so too.

        Raises:
            NotFoundError: There is no such agent.
            ProtocolError: Its globs are too many, or too long.
            StoreError: It could not be kept.
        """
        check_rule(rule)
        before = self._registry.get(agent_id).own_rule
        await self._registry.set_rule(agent_id, rule)
        registration = self._registry.find(agent_id)
        if registration is not None:
            self._deliveries.add_agent(agent_id, registration.rule.limits.inbox)
        await self._announcer.rule_set(agent_id, before, rule, by)

    async def set_delivery_rule(
        self, agent_id: str, rule: DeliveryRule, *, by: str = "hub"
    ) -> None:
        """
        Say how an agent is delivered to. It holds from the next failure on.

        When this returns, the audit log says so too.

        Raises:
            NotFoundError: There is no such agent.
            StoreError: It could not be kept.

        Cancellation: it may or may not be set.
        """
        before = self._registry.get(agent_id).delivery
        await self._registry.set_delivery_rule(agent_id, rule)
        self._deliveries.obey(agent_id, rule)
        await self._announcer.delivery_rule_set(agent_id, before, rule, by)

    async def record_observation(
        self,
        agent_id: str,
        capability: str,
        outcome: TaskState,
        *,
        latency_ms: int | None = None,
        task_id: str | None = None,
    ) -> None:
        """
        Count one more task that exercised a capability, by how it ended.

        Args:
            latency_ms: How long it took; None is not known.
            task_id: A task that is one of the last 128 that were counted is not counted again.

        Raises:
            NotFoundError: There is no such agent.
            ProtocolError: It would be one capability too many (`observed_capabilities_max`).
            StoreError: It may or may not be counted.

        Durability: on return. Cancellation: it may or may not be counted.
        """
        if await self._registry.record_observation(
            agent_id, capability, outcome, latency_ms, task_id
        ):
            self._announcer.observation_recorded(agent_id, capability, outcome)

    async def _count_expired(self, task: TaskMetadata) -> None:
        """Count a task whose time is over, where its owner has not; it took all the time it had."""
        if task.spec.capability is None or task.expires_at is None:
            return
        latency_ms = None
        # Dates by the clock of whoever began it, who may have written anything.
        with suppress(ValueError):
            began = seconds_from_iso(task.started_at or task.created_at)
            latency_ms = max(0, round(1000 * (seconds_from_iso(task.expires_at) - began)))
        await self.record_observation(
            task.owner_id,
            task.spec.capability,
            TaskState.EXPIRED,
            latency_ms=latency_ms,
            task_id=task.task_id,
        )
