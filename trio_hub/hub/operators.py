"""
Operators: the agents that may look after the hub as a whole.

An operator is an ordinary agent whose name the hub was opened with. A name says nothing by
itself: it is its credential that proves it. So an operator counts only where it was registered
under a scheme that checks something, unless whoever opens the hub insists; and nobody can take
the name of an operator without a credential, before its owner has come for the first time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._logging import get_logger
from ..auth import AuthRegistry, NoAuth
from ..errors import AuthError
from ..records import Passport
from .registry import Registry

__all__ = ["Operators"]

log = get_logger(__name__)


class Operators:
    """
    Who is an operator.

    Args:
        names: The names of the operators.
        registry: Who there is.
        auth: Who may be whom.
        allow_unauthenticated: Honour also those whose scheme is "none", which anybody can be.

    Raises:
        TypeError: `names` is one string.
        ValueError: Nobody is authenticated here, so that nobody could be an operator.
    """

    def __init__(
        self,
        names: Iterable[str],
        registry: Registry,
        auth: AuthRegistry,
        *,
        allow_unauthenticated: bool,
    ) -> None:
        if isinstance(names, str):
            raise TypeError(f"operators={names!r}: give a sequence of names, such as [{names!r}]")
        self._names = dict.fromkeys(names)
        self._registry = registry
        self._allow_unauthenticated = allow_unauthenticated
        if self._names and not allow_unauthenticated and set(auth.schemes) == {NoAuth.scheme}:
            raise ValueError(
                "operators were named, but this hub authenticates nobody, so anybody could act as "
                f"{next(iter(self._names))!r}: give auth=, or insist with "
                "allow_unauthenticated_operators=True"
            )

    def acting(self, bound: Mapping[str, object]) -> str | None:
        """Return the name of an operator among the ids that a connection is bound to, or None."""
        for name in self._names:
            agent_id = self._registry.id_of(name)
            if agent_id is not None and agent_id in bound:
                if self._is_proven(self._registry.get(agent_id).passport):
                    return name
                log.warning("an operator without a credential is not honoured", agent=name)
        return None

    def check_name(self, passport: Passport) -> None:
        """
        Keep the names of operators for those who can prove them.

        Raises:
            AuthError: It is an operator's, and the passport's scheme proves nothing.
        """
        if passport.name in self._names and not self._is_proven(passport):
            raise AuthError(
                f"the name {passport.name!r} can be registered only under a scheme that proves it"
            )

    def _is_proven(self, passport: Passport) -> bool:
        return self._allow_unauthenticated or passport.auth.scheme != NoAuth.scheme
