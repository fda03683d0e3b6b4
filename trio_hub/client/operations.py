"""
The operations of a hub as methods, by their names on the wire.

Each is one request: its parameters are typed, its answer is decoded strictly as what the method
returns. Names and ids are remembered (bounded), since they belong together for good.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from ..errors import ProtocolError
from ..ids import ID_PATTERN
from ..records import (
    ChannelMetadata,
    DeliveryRule,
    DeliveryStanding,
    Duration,
    Envelope,
    Expectation,
    Passport,
    PassportKind,
    PendingTurn,
    Resume,
    Rule,
)
from ..wire import params as p
from ..wire.validation import encode
from .name_cache import NameCache
from .peer_operations import PeerOperations
from .task_operations import TaskOperations
from .upkeep_operations import UpkeepOperations

__all__ = ["HubOperations", "Tail"]

# Fewer than any hub resolves at once.
_NAMES_AT_ONCE = 1_000


@attrs.frozen(kw_only=True)
class Tail:
    """The end of a channel's log: what one may see of it from position `start` on."""

    start: int
    envelopes: tuple[Envelope, ...]


class HubOperations(PeerOperations, TaskOperations, UpkeepOperations):
    """
    What can be asked of a hub.

    All raise what the hub answers (`NetworkError` and its children), `trio.TooSlowError` when
    the answer takes longer than the request timeout, and `ConnectionLost`.

    Cancellation: of any of them, the request may or may not be carried out; the client lives.
    """

    def __init__(self, rng: random.Random) -> None:
        self.names = NameCache()
        self._rng = rng

    def new_key(self) -> str:
        """Return an idempotency key that nobody has used."""
        return f"{self._rng.getrandbits(128):032x}"

    # Identities

    async def get_agent(self, name_or_id: str) -> Passport:
        """Look an agent up."""
        passport: Passport = await self.request(
            "get_agent", p.OfAgentByNameOrId(name_or_id=name_or_id), Passport
        )
        self.names.remember(passport)
        return passport

    async def find_agent_id(self, name: str) -> str | None:
        """Look an id up by name; None where there is no such agent."""
        agent_id: str | None = await self.request("find_agent_id", p.OfName(name=name), str | None)
        return agent_id

    async def names_for(self, agent_ids: Iterable[str]) -> dict[str, str]:
        """Resolve ids to names: {agent id: name}. Those known already cost no request."""
        wanted = list(dict.fromkeys(agent_ids))
        known = {one: name for one in wanted if (name := self.names.name_of(one)) is not None}
        missing = tuple(one for one in wanted if one not in known)
        for start in range(0, len(missing), _NAMES_AT_ONCE):
            found: dict[str, str] = await self.request(
                "names_for",
                p.OfAgents(agent_ids=missing[start : start + _NAMES_AT_ONCE]),
                dict[str, str],
            )
            for agent_id, name in found.items():
                self.names.remember_name(agent_id, name)
            known.update(found)
        return known

    async def name_for(self, agent_id: str) -> str:
        """Resolve one id to its name."""
        return (await self.names_for([agent_id])).get(agent_id, agent_id)

    async def id_for(self, name_or_id: str) -> str:
        """
        Resolve a name (or an id, which is returned as it is) to an id.

        Raises:
            NotFoundError: There is no agent of that name.
        """
        if ID_PATTERN.fullmatch(name_or_id):
            return name_or_id
        known = self.names.id_of(name_or_id)
        if known is not None:
            return known
        return (await self.get_agent(name_or_id)).stamped_id

    async def list_agents(
        self,
        *,
        capability: str | None = None,
        query: str | None = None,
        kind: PassportKind | None = None,
        sort_by: str | None = None,
        limit: int = p.LIST_LIMIT_DEFAULT,
        after: Passport | None = None,
    ) -> list[Passport]:
        """
        Find agents by what they can do.

        Args:
            sort_by: "name", "created_at" or "observed"; None is the order of registration.
            limit: At most so many; the hub has a bound too (`HubLimits.agents_per_answer_max`).
            after: Go on behind this one, in order of registration. (AG2's hubs begin at the first
                one again.)
        """
        passports: list[Passport] = await self.request(
            "list_agents",
            p.ListAgents(
                capability=capability,
                query=query,
                kind=kind,
                sort_by=sort_by,
                limit=limit,
                after=None if after is None else after.agent_id,
            ),
            list[Passport],
        )
        for passport in passports:
            self.names.remember(passport)
        return passports

    async def get_resume(self, agent_id: str) -> Resume:
        """Read an agent's resume."""
        resume: Resume = await self.request("get_resume", p.OfAgent(agent_id=agent_id), Resume)
        return resume

    async def get_skill(self, agent_id: str) -> str | None:
        """Read an agent's skill page (markdown)."""
        skill: str | None = await self.request(
            "get_skill", p.OfAgent(agent_id=agent_id), str | None
        )
        return skill

    async def get_rule(self, agent_id: str) -> Rule:
        """Read an agent's rule."""
        rule: Rule = await self.request("get_rule", p.OfAgent(agent_id=agent_id), Rule)
        return rule

    async def set_resume(self, agent_id: str, resume: Resume) -> None:
        """Replace the resume of an agent that is attached here."""
        await self.request("set_resume", p.SetResume(agent_id=agent_id, resume=resume), None)

    async def set_skill(self, agent_id: str, skill_md: str | None) -> None:
        """Replace the skill page of an agent that is attached here; None removes it."""
        await self.request("set_skill", p.SetSkill(agent_id=agent_id, skill_md=skill_md), None)

    async def set_rule(self, agent_id: str, rule: Rule) -> None:
        """Replace the rule of an agent that is attached here."""
        await self.request("set_rule", p.SetRule(agent_id=agent_id, rule=rule), None)

    async def get_delivery_rule(self, agent_id: str) -> DeliveryRule:
        """Return what of the hub's delivery is different for an agent (one's own: or operators)."""
        rule: DeliveryRule = await self.request(
            "get_delivery_rule", p.OfAgent(agent_id=agent_id), DeliveryRule
        )
        return rule

    async def set_delivery_rule(self, agent_id: str, rule: DeliveryRule) -> None:
        """
        Say how an agent that is attached here is delivered to; for operators, any agent.

        It holds from the next failure on. Durable on return.
        """
        await self.request(
            "set_delivery_rule", p.SetDeliveryRule(agent_id=agent_id, rule=rule), None
        )

    # Channels

    async def create_channel(
        self,
        *,
        creator_id: str,
        manifest_type: str,
        participants: Iterable[str],
        manifest_version: int = 1,
        required_acks: int | None = None,
        ttl: Duration | None = None,
        knobs: Mapping[str, Any] | None = None,
        intent: str | None = None,
        labels: Mapping[str, str] | None = None,
        expectations: Iterable[Expectation] | None = None,
        idempotency_key: str | None = None,
    ) -> ChannelMetadata:
        """
        Open a channel: invite everybody (agent ids), wait for their acks.

        Args:
            expectations: In place of those of the type; None leaves these as they are.
            idempotency_key: Instead of one made for this call: the same creator is given the
                channel that it opened under this key before, whether or not it is still open.

        Raises:
            ProtocolError: Besides what the hub says, it takes no `expectations`, as AG2's hubs
                do not. The channel is open, with those of its type.

        It is asked for again, under the same key, when the connection was lost before the
        answer came. AG2's hubs know no such keys: with them that is a `ConnectionLost`, and
        `list_channels` shows whether the channel is there.
        """
        wanted = None if expectations is None else tuple(expectations)
        metadata: ChannelMetadata = await self.request(
            "create_channel",
            p.CreateChannel(
                creator_id=creator_id,
                manifest_type=manifest_type,
                manifest_version=manifest_version,
                participants=tuple(participants),
                required_acks=required_acks,
                ttl=ttl,
                knobs=None if knobs is None else dict(knobs),
                intent=intent,
                labels=None if labels is None else dict(labels),
                expectations=wanted,
                idempotency_key=idempotency_key or self.new_key(),
            ),
            ChannelMetadata,
        )
        if wanted is not None and encode(wanted) != encode(metadata.manifest.expectations):
            raise ProtocolError(
                f"this hub takes no expectations with a channel: {metadata.channel_id} is open with "
                "those of its type; go on with it, or close it"
            )
        return metadata

    async def get_channel(self, channel_id: str) -> ChannelMetadata:
        """Read a channel's metadata."""
        metadata: ChannelMetadata = await self.request(
            "get_channel", p.OfChannel(channel_id=channel_id), ChannelMetadata
        )
        return metadata

    async def close_channel(self, channel_id: str, *, reason: str = "") -> ChannelMetadata:
        """Close a channel."""
        metadata: ChannelMetadata = await self.request(
            "close_channel", p.CloseChannel(channel_id=channel_id, reason=reason), ChannelMetadata
        )
        return metadata

    async def list_channels(
        self,
        *,
        agent_id: str | None = None,
        include_terminal: bool = False,
        limit: int = p.LIST_LIMIT_DEFAULT,
        after: ChannelMetadata | None = None,
    ) -> list[ChannelMetadata]:
        """
        List an agent's channels, or those of all that are attached here, oldest first.

        Args:
            include_terminal: Those that have ended too.
            limit: At most so many; the hub has a bound too (`HubLimits.channels_per_answer_max`).
            after: Go on behind this one. (AG2's hubs begin at the first one again.)
        """
        # AG2's hubs do not filter, so ask for more than is wanted where some will be left out.
        asked = 4 * limit if self.speaks_plain and not include_terminal else limit
        channels: list[ChannelMetadata] = await self.request(
            "list_channels",
            p.ListChannels(
                agent_id=agent_id,
                limit=asked,
                after=None if after is None else f"{after.created_at} {after.channel_id}",
                include_terminal=include_terminal,
            ),
            list[ChannelMetadata],
        )
        return [one for one in channels if include_terminal or not one.is_terminal][:limit]

    async def read_wal(
        self, channel_id: str, *, since: int = 0, until: int | None = None
    ) -> list[Envelope]:
        """Read a slice of a channel's log by position: `since` inclusive, `until` exclusive."""
        envelopes: list[Envelope] = await self.request(
            "read_wal", p.ReadWal(channel_id=channel_id, since=since, until=until), list[Envelope]
        )
        return envelopes

    async def read_tail(
        self,
        channel_id: str,
        *,
        before: int | None = None,
        limit: int = p.LIST_LIMIT_DEFAULT,
        said: bool = False,
    ) -> Tail:
        """
        Read the last envelopes of a channel's log that one may see.

        Go on with ``before=tail.start`` until that is 0. From AG2's hubs it is the whole log at
        once, which is all they offer.

        Args:
            before: Only what stands below this position; None is the end of the log.
            limit: At most so many, and no more than one answer can hold.
            said: Leave out what is about channels, tasks and expectations. (AG2's hubs, and those
                of an earlier version, leave nothing out.)
        """
        if self.speaks_plain:
            whole = await self.read_wal(channel_id, until=before)
            return Tail(start=0, envelopes=tuple(whole))
        tail: Tail = await self.request(
            "read_tail",
            p.ReadTail(channel_id=channel_id, before=before, limit=limit, said=said),
            Tail,
        )
        return tail

    async def find_envelope_by_causation(
        self, channel_id: str, *, sender_id: str, causation_id: str
    ) -> Envelope | None:
        """Find what `sender_id` posted because of `causation_id`."""
        found: Envelope | None = await self.request(
            "find_envelope_by_causation",
            p.FindEnvelopeByCausation(
                channel_id=channel_id, sender_id=sender_id, causation_id=causation_id
            ),
            Envelope | None,
        )
        return found

    async def read_standing(self, channel_id: str, envelope_id: str) -> list[DeliveryStanding]:
        """Ask how far an envelope has come; as `Channel.standing`."""
        standing: list[DeliveryStanding] = await self.request(
            "read_standing",
            p.OfEnvelope(channel_id=channel_id, envelope_id=envelope_id),
            list[DeliveryStanding],
        )
        return standing

    async def can_send(
        self, channel_id: str, sender_id: str, *, event_type: str | None = None
    ) -> bool:
        """
        Ask whether a channel's protocol would take a post of an agent now.

        The agent is one that is attached here; for operators, any. Rules are not asked.
        """
        allowed: bool = await self.request(
            "can_send",
            p.CanSend(channel_id=channel_id, sender_id=sender_id, event_type=event_type),
            bool,
        )
        return allowed

    async def pending_turns_for(
        self, agent_id: str, *, channel_id: str | None = None
    ) -> list[PendingTurn]:
        """
        List the turns that protocols expect of an agent that is attached here.

        Args:
            channel_id: Only the one of this channel: one request, whatever else is pending.
        """
        turns: list[PendingTurn] = []
        after: str | None = None
        while True:
            page: list[PendingTurn] = await self.request(
                "pending_turns_for",
                p.PendingTurnsFor(agent_id=agent_id, after=after, channel_id=channel_id),
                list[PendingTurn],
            )
            if channel_id is not None:
                # AG2's hubs do not know this parameter, and say everything.
                return [it for it in page if it.channel_id == channel_id]
            if after is not None:
                page = [it for it in page if it.channel_id > after]
            turns += page
            # AG2's hubs say everything at once, and would say it again.
            if not page or self.speaks_plain:
                return turns
            after = page[-1].channel_id

    async def report_turn_failure(
        self, *, channel_id: str, agent_id: str, envelope_id: str, error: str | BaseException
    ) -> None:
        """Tell the hub that a turn of an agent that is attached here failed."""
        await self.request(
            "report_turn_failure",
            p.ReportTurnFailure(
                channel_id=channel_id, agent_id=agent_id, envelope_id=envelope_id, error=str(error)
            ),
            None,
        )
