"""
The rules that operators have set, by the name that each is for.

They are kept by name and not by agent: whoever registers anew under a name finds the same ceiling,
and one may be set before anybody has come. Beside the rules stands a list of their names. A rule
that cannot be read any more is thus still known of, and since nobody knows what it forbade, it
forbids everything until it is set again.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Mapping

import attrs
import trio

from ..errors import FrameError, ProtocolError, StoreError
from ..ids import ID_PATTERN
from ..protocol.operator_rules import SHUT
from ..records import OperatorRule, OperatorRulePage
from ..stores import Change, Delete, Put
from ..wire.validation import decode_strictly, encode
from . import paths
from .committer import Committer

__all__ = ["OperatorRules"]

# Any name that an agent can have in earnest.
_NAME_CHARACTERS_MAX = 1000


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
        self._committer = committer
        self._on_change = on_change
        self._names_max = names_max
        self._rules: dict[str, OperatorRule] = {}
        # Names of which a change failed, and may be on disk all the same; written once more with
        # the next change, or the list of names would not be that of the rules.
        self._in_doubt: set[str] = set()
        # The list of names is changed as a whole: one at a time, or a name is lost.
        self._lock = trio.Lock()

    def load(self, documents: Mapping[str, bytes]) -> list[str]:
        """
        Take what the store holds below ``/operator_rules``.

        Returns:
            One sentence for each rule that cannot be read.
        """
        problems: list[str] = []
        names: tuple[str, ...] = ()
        for path, data in documents.items():
            try:
                if path == paths.OPERATOR_RULE_NAMES:
                    names = decode_strictly(data, tuple[str, ...], "list of names")
                else:
                    kept = decode_strictly(data, _Kept, "operator's rule")
                    self._rules[kept.name] = kept.rule
            except FrameError as error:
                problems.append(f"{path} cannot be read: {error}")
        for name in names:
            if name not in self._rules:
                self._rules[name] = SHUT
                problems.append(
                    f"the operators' rule for {name!r} cannot be read: until it is set again or "
                    "cleared, whoever has that name may speak with nobody"
                )
        return problems

    def find(self, name: str) -> OperatorRule | None:
        """Return the rule for a name, or None."""
        return self._rules.get(name)

    def page(self, limit: int, after: str | None) -> OperatorRulePage:
        """Return names that have a rule, sorted: so many at most, behind one."""
        names = sorted(self._rules)
        start = 0 if after is None else bisect_right(names, after)
        shown = tuple(names[start : start + limit])
        return OperatorRulePage(
            names=shown, after=shown[-1] if shown and start + limit < len(names) else None
        )

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
        if not name or len(name) > _NAME_CHARACTERS_MAX or ID_PATTERN.fullmatch(name):
            raise ProtocolError(
                f"{name[:40]!r} is no name: rules of operators are for names of agents, which are "
                f"no ids and have at most {_NAME_CHARACTERS_MAX} characters"
            )
        async with self._lock:
            before = self._rules.get(name)
            after = {**self._rules}
            if rule is None:
                after.pop(name, None)
            else:
                after[name] = rule
            if len(after) > max(self._names_max, len(self._rules)):
                raise ProtocolError(
                    f"operators have set rules for {len(self._rules)} names, and "
                    f"operator_rules_max allows no more: clear one first"
                )
            touched = self._in_doubt | {name}

            def keep() -> None:
                self._rules = after
                self._in_doubt -= touched
                self._on_change(name)

            def doubt(_error: StoreError) -> None:
                self._in_doubt |= touched

            await self._committer.submit(_changes(after, touched), keep, doubt).wait()
            return before


def _changes(rules: Mapping[str, OperatorRule], touched: set[str]) -> list[Change]:
    changes: list[Change] = [Put(paths.OPERATOR_RULE_NAMES, encode(sorted(rules)))]
    for name in sorted(touched):
        # A name may hold anything, and be longer than a part of a path.
        path = paths.operator_rule(hashlib.sha256(name.encode()).hexdigest())
        rule = rules.get(name)
        changes.append(Delete(path) if rule is None else Put(path, encode(_Kept(name, rule))))
    return changes
