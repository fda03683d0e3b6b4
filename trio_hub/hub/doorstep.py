"""
The doorstep: what may be asked of a hub before saying who one is.

Where a hub takes the scheme "none", everybody is somebody, and may look around at once. Any other
hub shows nothing to a stranger but what a client needs to come in: an AG2 client (and ours) that
attaches looks up its own name, passport, resume and rule, and only then says hello. So a
connection that acts for nobody yet may ask about a few names that it spells out in full, and about
nothing else: there is no list, no search and no way from an id to a name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import AccessDeniedError
from ..ids import ID_PATTERN
from ..wire.operations import Operation
from .registry import Registry

__all__ = ["ASKED_NAME_CHARACTERS_MAX", "Doorstep"]

# What is asked about a name, or about the id that it turned out to have.
_BY_NAME: dict[str, Callable[[Any], str]] = {
    "find_agent_id": lambda it: it.name,
    "get_agent": lambda it: it.name_or_id,
}
_BY_ID: dict[str, Callable[[Any], str]] = {
    "get_agent": lambda it: it.name_or_id,
    "get_resume": lambda it: it.agent_id,
    "get_rule": lambda it: it.agent_id,
}
#: The longest name that a stranger may ask about before it authenticates, since it is remembered:
#: nobody registers a longer one.
ASKED_NAME_CHARACTERS_MAX = 1000


class Doorstep:
    """
    Who may look around, at a hub that wants credentials.

    Args:
        registry: Who there is.
        names_max: How many names one connection may ask about before it acts for anybody.
    """

    def __init__(self, registry: Registry, *, names_max: int) -> None:
        self._registry = registry
        self._names_max = names_max

    def check(self, named: set[str], operation: Operation, params: Any) -> None:
        """
        Let somebody who acts for nobody yet look something up, or not.

        The answer does not depend on who is registered, but where a name is spelled out.

        Args:
            named: The names that this connection has asked about; another one is added.

        Raises:
            AccessDeniedError: It has to authenticate first.
        """
        read_id = _BY_ID.get(operation.name)
        if read_id is not None and read_id(params) in map(self._registry.id_of, named):
            return
        read_name = _BY_NAME.get(operation.name)
        if read_name is not None and self._takes(read_name(params), named):
            return
        raise AccessDeniedError(
            f"{operation.name} is for agents that have authenticated: say hello or register first"
        )

    def _takes(self, name: str, named: set[str]) -> bool:
        if name not in named:
            # An id is no name, so that ids cannot be tried.
            if ID_PATTERN.fullmatch(name) or len(name) > ASKED_NAME_CHARACTERS_MAX:
                return False
            if len(named) >= self._names_max:
                return False
            named.add(name)
        return True
