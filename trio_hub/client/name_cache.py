"""Names and ids that were seen together, the most recently used ones."""

from __future__ import annotations

from collections import OrderedDict

from ..records import Passport

__all__ = ["NameCache"]

_ENTRIES_MAX = 4096


class NameCache:
    """
    A bounded memory of which id has which name.

    An id keeps its name for good. A name may be registered anew under another id after it was
    unregistered, so an id from here can be stale: `forget` it when the hub does not know it.
    """

    def __init__(self, entries_max: int = _ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._names: OrderedDict[str, str] = OrderedDict()
        self._ids: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._names)

    def remember(self, passport: Passport) -> None:
        """Keep the name and the id of a passport that came from the hub."""
        if passport.agent_id is not None:
            self.remember_name(passport.agent_id, passport.name)

    def remember_name(self, agent_id: str, name: str) -> None:
        """Keep one pair."""
        self._names[agent_id] = name
        self._names.move_to_end(agent_id)
        self._ids[name] = agent_id
        while len(self._names) > self._entries_max:
            old_id, old_name = self._names.popitem(last=False)
            if self._ids.get(old_name) == old_id:
                del self._ids[old_name]

    def name_of(self, agent_id: str) -> str | None:
        """Return the name of an id, if known."""
        return self._names.get(agent_id)

    def id_of(self, name: str) -> str | None:
        """Return the id of a name, if known."""
        return self._ids.get(name)

    def forget(self, name: str) -> None:
        """Drop a name and its id."""
        agent_id = self._ids.pop(name, None)
        if agent_id is not None:
            self._names.pop(agent_id, None)
