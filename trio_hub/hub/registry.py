"""Who is registered: passports, resumes, rules and skill pages, durable before anybody is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import attrs
import trio

from .._logging import get_logger
from ..errors import FrameError, NotFoundError, ProtocolError, StoreError
from ..ids import ID_PATTERN, Now, iso_from_seconds
from ..protocol.latency_sketch import LatencySketch
from ..protocol.operator_rules import effective_limits, glob_lists
from ..protocol.track_record import count, sum_up
from ..records import (
    AccessBlock,
    AccessCeiling,
    ChannelTypeAccess,
    DeliveryRule,
    ObservedStat,
    OperatorRule,
    Passport,
    Resume,
    Rule,
    TaskState,
    TrackRecord,
    without_claim,
)
from ..stores import Change, Delete, Put
from ..wire.params import CAPABILITY_CHARACTERS_MAX
from ..wire.validation import decode_strictly, encode
from . import paths
from .committer import Committer
from .limits import HubLimits
from .measured import Measured, read_measured
from .named_book import NAME_CHARACTERS_MAX
from .shared_rules import shared

__all__ = ["Registration", "Registry"]

# A rule is kept with its agent from the beginning, so one that is not there was damaged. What it
# forbade is not known, so nothing is permitted; the agent itself can set another one.
_SHUT = Rule(
    access=AccessBlock(
        inbound_from=(), outbound_to=(), channel_types=ChannelTypeAccess(initiate=(), accept=())
    )
)

log = get_logger(__name__)

# What most agents have, once for all of them.
_AS_THE_HUB_DOES = DeliveryRule()
_NOTHING_MEASURED: Mapping[str, Measured] = MappingProxyType({})


@attrs.frozen
class Registration:
    """
    Everything that is known of one agent.

    Attributes:
        own_rule: As the agent set it.
        latencies: How long its tasks took, by capability.
        ceiling: What operators have set for its name.
        rule: Its own, with the limits that are in force: no laxer than those of operators.
        bounds: The lists of operators, where there are any; they hold beside those of `rule`.
    """

    passport: Passport
    resume: Resume
    own_rule: Rule
    skill_md: str | None = None
    delivery: DeliveryRule = _AS_THE_HUB_DOES
    measured: Mapping[str, Measured] = _NOTHING_MEASURED
    ceiling: OperatorRule | None = None
    # Worked out when something changes, for they are looked at with every envelope.
    rule: Rule = attrs.field(init=False)
    bounds: AccessCeiling | None = attrs.field(init=False)

    @rule.default
    def _rule_in_force(self) -> Rule:
        if self.ceiling is None:
            return self.own_rule
        limits = effective_limits(self.own_rule.limits, self.ceiling)
        return attrs.evolve(self.own_rule, limits=limits)

    @bounds.default
    def _bounds_in_force(self) -> AccessCeiling | None:
        if self.ceiling is None:
            return None
        access = self.ceiling.access
        return access if any(it is not None for it in glob_lists(access).values()) else None

    @property
    def agent_id(self) -> str:
        """The stamped id."""
        return self.passport.stamped_id

    def latencies_of(self, capabilities: Iterable[str]) -> list[LatencySketch]:
        """Return how long tasks took, of those capabilities of which it is known."""
        return [self.measured[it].latencies for it in capabilities if it in self.measured]


class Registry:
    """
    The registered agents, by id and by name.

    Args:
        committer: Writes what changes.
        mint: Makes agent ids.
        clock: Seconds since 1970.
        limits: How many capabilities are counted.
        ceiling_of: Returns what operators have set for a name, or None.
    """

    def __init__(
        self,
        committer: Committer,
        mint: Callable[[], str],
        clock: Now,
        limits: HubLimits,
        ceiling_of: Callable[[str], OperatorRule | None],
    ) -> None:
        self._ceiling_of = ceiling_of
        self._observed_max = limits.observed_capabilities_max
        self._committer = committer
        self._mint = mint
        self._clock = clock
        self._by_id: dict[str, Registration] = {}
        self._id_by_name: dict[str, str] = {}
        # Names whose registration is on its way to the disk.
        self._reserved: set[str] = set()
        # Names whose registration failed, and may be on disk all the same, with their ids: who
        # tries again gets the same id, or there would be two of one name.
        self._in_doubt: dict[str, str] = {}
        # A resume is read, changed and written: one at a time, or a count is lost.
        self._resume_lock = trio.Lock()

    def load(self, documents: Mapping[str, bytes]) -> list[str]:
        """
        Take what the store holds below ``/agents``. What cannot be read is left out.

        Returns:
            One sentence for each agent or document that was left out.
        """
        problems: list[str] = []
        grouped: dict[str, dict[str, bytes]] = {}
        for path, data in documents.items():
            agent_id, _, what = path.removeprefix(f"{paths.AGENTS}/").partition("/")
            grouped.setdefault(agent_id, {})[what] = data
        for agent_id, parts in grouped.items():
            try:
                passport = decode_strictly(parts["passport"], Passport, "passport")
                registration = Registration(
                    passport,
                    decode_strictly(parts.get("resume", b"{}"), Resume, "resume"),
                    shared(decode_strictly(parts["rule"], Rule, "rule"))
                    if "rule" in parts
                    else _SHUT,
                    parts["skill"].decode() if "skill" in parts else None,
                )
            except KeyError:
                problems.append(f"agent {agent_id} is set aside: its passport cannot be read")
                continue
            except (FrameError, UnicodeError) as error:
                problems.append(f"agent {agent_id} is set aside: {error}")
                continue
            if "delivery" in parts:
                try:
                    delivery = decode_strictly(parts["delivery"], DeliveryRule, "delivery rule")
                    registration = attrs.evolve(registration, delivery=delivery)
                except FrameError as error:
                    problems.append(
                        f"how agent {agent_id} is to be delivered to cannot be read, so the hub's "
                        f"own numbers hold: {error}"
                    )
            measured, damaged = read_measured(parts)
            registration = attrs.evolve(registration, measured=measured)
            problems += [
                f"how long some tasks of agent {agent_id} took cannot be read, so that is "
                f"measured anew: {error}"
                for error in damaged
            ]
            if registration.own_rule is _SHUT:
                problems.append(
                    f"the rule of agent {agent_id} cannot be read: until it is set again, the "
                    "agent may speak with nobody"
                )
            self._keep(registration)
        return problems

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_id.values())

    # Lookup

    def get(self, agent_id: str) -> Registration:
        """Return an agent by id, or raise `NotFoundError`."""
        registration = self._by_id.get(agent_id)
        if registration is None:
            raise NotFoundError(f"no agent with id {agent_id!r} is registered")
        return registration

    def find(self, agent_id: str) -> Registration | None:
        """Return an agent by id, or None."""
        return self._by_id.get(agent_id)

    def resolve(self, name_or_id: str) -> Registration:
        """Return an agent by id or by name, or raise `NotFoundError`."""
        registration = self._by_id.get(self._id_by_name.get(name_or_id, name_or_id))
        if registration is None:
            raise NotFoundError(f"no agent {name_or_id!r} is registered")
        return registration

    def id_of(self, name: str) -> str | None:
        """Return the id of a name, or None."""
        return self._id_by_name.get(name)

    def name_of(self, agent_id: str, default: str | None = None) -> str:
        """Return the name of an id; `default`, or the id itself, where there is none."""
        registration = self._by_id.get(agent_id)
        if registration is not None:
            return registration.passport.name
        return agent_id if default is None else default

    # Change

    async def register(
        self, passport: Passport, resume: Resume, rule: Rule, skill_md: str | None
    ) -> Registration:
        """
        Add an agent. Its credential was checked by whoever calls. Durable when it returns.

        Raises:
            ProtocolError: The name is taken, is too long, or looks like an id.
            StoreError: It could not be kept.

        Cancellation: the registration may or may not happen.
        """
        name = passport.name
        if len(name) > NAME_CHARACTERS_MAX:
            raise ProtocolError(
                f"the name {name[:40]!r}... has {len(name)} characters, and a name has at most "
                f"{NAME_CHARACTERS_MAX}"
            )
        if ID_PATTERN.fullmatch(name):
            raise ProtocolError(f"the name {name!r} has the shape of an id; choose another")
        if name in self._id_by_name or name in self._reserved:
            raise ProtocolError(
                f"the name {name!r} is already registered; attach to it, or unregister it first"
            )
        stamped = attrs.evolve(
            without_claim(passport),
            agent_id=self._in_doubt.get(name) or self._mint(),
            created_at=iso_from_seconds(self._clock()),
        )
        registration = Registration(stamped, resume, shared(rule), skill_md)
        agent_id = registration.agent_id
        changes: list[Change] = [
            Put(paths.passport(agent_id), encode(stamped)),
            Put(paths.resume(agent_id), encode(resume)),
            Put(paths.rule(agent_id), encode(rule)),
        ]
        if skill_md is not None:
            changes.append(Put(paths.skill(agent_id), skill_md.encode()))
        elif name in self._in_doubt:
            changes.append(Delete(paths.skill(agent_id)))

        def doubt(_error: StoreError) -> None:
            self._reserved.discard(name)
            self._in_doubt[name] = agent_id

        self._reserved.add(name)
        ticket = self._committer.submit(
            changes,
            on_durable=lambda: self._keep(registration),
            on_failed=doubt,
        )
        await ticket.wait()
        log.info("agent registered", agent=name, agent_id=agent_id)
        return self._by_id.get(agent_id, registration)

    async def unregister(self, agent_id: str) -> Registration:
        """Remove an agent for good; its channels and what it said stay. Durable on return."""
        registration = self.get(agent_id)

        def forget() -> None:
            if self._by_id.pop(agent_id, None) is not None:
                del self._id_by_name[registration.passport.name]

        documents = (
            paths.passport,
            paths.resume,
            paths.rule,
            paths.skill,
            paths.delivery_rule,
        )
        changes: list[Change] = [Delete(path(agent_id)) for path in documents]
        for capability in {*registration.resume.observed, *registration.measured}:
            changes.append(Delete(paths.latencies(agent_id, capability)))
        await self._committer.submit(changes, forget).wait()
        log.info("agent unregistered", agent=registration.passport.name, agent_id=agent_id)
        return registration

    async def set_resume(self, agent_id: str, resume: Resume) -> None:
        """Replace a resume; its version goes up by one, what was observed stays."""
        async with self._resume_lock:
            current = self.get(agent_id).resume
            resume = attrs.evolve(resume, observed=current.observed, version=current.version)
            await self._keep_resume(agent_id, resume)

    async def set_rule(self, agent_id: str, rule: Rule) -> None:
        """Replace a rule."""
        change = Put(paths.rule(agent_id), encode(rule))
        await self._replace(agent_id, change, lambda it: attrs.evolve(it, own_rule=shared(rule)))

    def look_again(self, name: str) -> Registration | None:
        """Follow what operators have set for a name; return its registration, if there is one."""
        registration = self._by_id.get(self._id_by_name.get(name, ""))
        if registration is None:
            return None
        self._keep(registration)
        return self._by_id[registration.agent_id]

    async def set_delivery_rule(self, agent_id: str, rule: DeliveryRule) -> None:
        """Replace how an agent is delivered to."""
        change = Put(paths.delivery_rule(agent_id), encode(rule))
        await self._replace(agent_id, change, lambda it: attrs.evolve(it, delivery=rule))

    async def set_skill(self, agent_id: str, skill_md: str | None) -> None:
        """Replace a skill page, or remove it."""
        path = paths.skill(agent_id)
        change = Delete(path) if skill_md is None else Put(path, skill_md.encode())
        await self._replace(agent_id, change, lambda it: attrs.evolve(it, skill_md=skill_md))

    async def record_observation(
        self,
        agent_id: str,
        capability: str,
        outcome: TaskState,
        latency_ms: int | None,
        task_id: str | None,
    ) -> bool:
        """
        Count one more task that exercised `capability`, by how it ended. Durable when it returns.

        Returns:
            False where the task of that id was counted before.

        Raises:
            ProtocolError: It would be one capability too many, or has too long a name.
        """
        if len(capability) > CAPABILITY_CHARACTERS_MAX:
            raise ProtocolError(
                f"the capability {capability[:60]!r}... has more than {CAPABILITY_CHARACTERS_MAX} "
                "characters, so it is not counted"
            )
        async with self._resume_lock:
            registration = self.get(agent_id)
            observed = registration.resume.observed
            measured = registration.measured.get(capability, Measured(capability=capability))
            if task_id in measured.counted:
                return False
            if capability not in observed and len(observed) >= self._observed_max:
                raise ProtocolError(
                    f"{len(observed)} capabilities of {registration.passport.name!r} are counted, "
                    f"and {capability!r} would be one too many; count it under another"
                )
            stat, sketch = count(
                observed.get(capability, ObservedStat()),
                measured.latencies,
                outcome,
                latency_ms,
            )
            resume = attrs.evolve(registration.resume, observed={**observed, capability: stat})
            measured = measured.after(sketch, task_id)
            kept = Put(paths.latencies(agent_id, capability), encode(measured))
            everything = {**registration.measured, capability: measured}
            # Both or neither, or the median would belong to other tasks than the counts.
            await self._keep_resume(
                agent_id, resume, [kept], lambda it: attrs.evolve(it, measured=everything)
            )
            return True

    def track_record(self, agent_id: str) -> dict[str, TrackRecord]:
        """Return what was observed of an agent, by capability. Raises `NotFoundError`."""
        registration = self.get(agent_id)
        return {
            capability: sum_up([stat], registration.latencies_of([capability]))
            for capability, stat in registration.resume.observed.items()
        }

    async def _keep_resume(
        self,
        agent_id: str,
        resume: Resume,
        beside: Sequence[Change] = (),
        update: Callable[[Registration], Registration] = lambda it: it,
    ) -> None:
        newer = attrs.evolve(
            resume, version=resume.version + 1, last_updated=iso_from_seconds(self._clock())
        )
        await self._replace(
            agent_id,
            Put(paths.resume(agent_id), encode(newer)),
            lambda it: attrs.evolve(update(it), resume=newer),
            *beside,
        )

    async def _replace(
        self,
        agent_id: str,
        change: Change,
        update: Callable[[Registration], Registration],
        *beside: Change,
    ) -> None:
        self.get(agent_id)

        def keep() -> None:
            current = self._by_id.get(agent_id)
            if current is not None:
                self._by_id[agent_id] = update(current)

        await self._committer.submit([change, *beside], keep).wait()

    def _keep(self, registration: Registration) -> None:
        name = registration.passport.name
        self._reserved.discard(name)
        self._in_doubt.pop(name, None)
        self._by_id[registration.agent_id] = attrs.evolve(
            registration, ceiling=self._ceiling_of(name)
        )
        self._id_by_name[name] = registration.agent_id
