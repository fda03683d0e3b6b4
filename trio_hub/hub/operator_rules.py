"""
The rules that operators have set, by the name that each is for.

Of one that cannot be read any more nobody knows what it forbade, so it forbids everything until it
is set again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs

from ..protocol.operator_rules import SHUT
from ..records import OperatorRule, OperatorRulePage
from . import paths
from .committer import Committer
from .named_book import BookWords, NamedBook

__all__ = ["OperatorRules"]


@attrs.frozen
class _Kept:
    """One rule, as it is kept."""

    name: str
    rule: OperatorRule


class OperatorRules:
    """
    What operators have set.

    Args:
        committer: Writes what changes.
        on_change: Called with a name when another rule has come into force for it.
        names_max: For how many names there may be one.
    """

    def __init__(
        self, committer: Committer, on_change: Callable[[str], None], *, names_max: int
    ) -> None:
        self._book = NamedBook(
            committer,
            root=paths.OPERATOR_RULES,
            record=_Kept,
            words=BookWords(
                record="operator's rule",
                records="rules of operators",
                limit="operator_rules_max",
                first="clear one",
            ),
            lost=lambda name: _Kept(name, SHUT),
            on_change=lambda name, _kept: on_change(name),
            names_max=names_max,
        )

    def load(self, documents: Mapping[str, bytes]) -> list[str]:
        """
        Take what the store holds below ``/operator_rules``.

        Returns:
            One sentence for each rule that cannot be read.
        """
        problems, lost = self._book.load(documents)
        return problems + [
            f"the operators' rule for {name!r} cannot be read: until it is set again or "
            "cleared, whoever has that name may speak with nobody"
            for name in lost
        ]

    def find(self, name: str) -> OperatorRule | None:
        """Return the rule for a name, or None."""
        kept = self._book.find(name)
        return None if kept is None else kept.rule

    def page(self, limit: int, after: str | None) -> OperatorRulePage:
        """Return names that have a rule, sorted: so many at most, behind one."""
        shown, after = self._book.page(limit, after)
        return OperatorRulePage(names=tuple(it.name for it in shown), after=after)

    async def set(self, name: str, rule: OperatorRule | None) -> OperatorRule | None:
        """
        Set the rule for a name, or clear it (None). Durable, and in force, when it returns.

        Returns:
            What there was before.

        Raises:
            ProtocolError: Nobody can have such a name, or there are too many.
            StoreError: It could not be kept, as far as is known.

        Cancellation: it may or may not be set.
        """
        before = await self._book.put(name, None if rule is None else _Kept(name, rule))
        return None if before is None else before.rule
