"""What a hub can be asked about the rules that its operators set, in the same process."""

from __future__ import annotations

from collections.abc import Mapping

from ..protocol.operator_rules import effective_rule
from ..records import EffectiveRule, OperatorRule, OperatorRulePage
from ..wire.params import LIST_LIMIT_DEFAULT
from .admission import check_rule
from .announcer import Announcer
from .deliveries import Deliveries
from .limits import HubLimits
from .operator_rules import OperatorRules
from .operators import Operators
from .registry import Registry

__all__ = ["OperatorRuleApi"]


class OperatorRuleApi:
    """The part of `Hub` that is about operators. `Hub` fills in what it works with."""

    _limits: HubLimits
    _registry: Registry
    _operators: Operators
    _operator_rules: OperatorRules
    _deliveries: Deliveries
    _announcer: Announcer

    def acting_operator(self, agent_ids: Mapping[str, object]) -> str | None:
        """Return the name of an operator, proven by its credential, among agents, or None."""
        return self._operators.acting(agent_ids)

    def get_operator_rule(self, name: str) -> OperatorRule | None:
        """Return what operators have set for a name, or None."""
        return self._operator_rules.find(name)

    def list_operator_rules(
        self, *, limit: int = LIST_LIMIT_DEFAULT, after: str | None = None
    ) -> OperatorRulePage:
        """
        Return the names for which operators have set a rule, sorted.

        Args:
            limit: At most so many; never more than `HubLimits.page_records_max`.
            after: Go on behind an earlier page: its `after`.
        """
        return self._operator_rules.page(min(limit, self._limits.page_records_max), after)

    def get_effective_rule(self, agent_id: str) -> EffectiveRule:
        """
        Return what is in force for an agent: the stricter of its own rule and its operators'.

        Raises:
            NotFoundError: There is no such agent.
        """
        registration = self._registry.get(agent_id)
        return effective_rule(registration.own_rule, registration.ceiling)

    async def set_operator_rule(
        self, name: str, rule: OperatorRule | None, *, by: str = "hub"
    ) -> None:
        """
        Set a ceiling over the rule of whoever has a name, now or later; None clears it.

        It holds from the next post, opening and handing over on, whatever the agent sets for
        itself. When this returns it is durable, and the audit log says so too.

        Args:
            by: Who wants it, for the audit log: a name or an id.

        Raises:
            ProtocolError: Nobody can have such a name, the globs are too many or too long, or
                there are rules for too many names.
            StoreError: It could not be kept, as far as is known.

        Cancellation: it may or may not be set.
        """
        if rule is not None:
            check_rule(rule)
        before = await self._operator_rules.set(name, rule)
        agent_id = self._registry.id_of(name)
        await self._announcer.operator_rule_set(name, agent_id, before, rule, by)

    def _on_operator_rule(self, name: str) -> None:
        registration = self._registry.look_again(name)
        if registration is not None:
            self._deliveries.add_agent(registration.agent_id, registration.rule.limits.inbox)
