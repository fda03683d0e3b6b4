"""What the handles of agents and of people have in common: the identity they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..records import Passport, Resume, Rule
from .identity import Identity
from .peers import Peers

if TYPE_CHECKING:
    from .hub_client import HubClient

__all__ = ["IdentityClient"]


class IdentityClient:
    """
    A handle on one identity of a `HubClient`, which gives it that identity by `bind`.

    Args:
        hub_client: The connection that it is on.
    """

    def __init__(self, hub_client: HubClient) -> None:
        self.hub_client = hub_client
        self._identity: Identity | None = None
        self._bound = trio.Event()
        self._resume = Resume()
        self._rule = Rule()

    def __repr__(self) -> str:
        kind = type(self).__name__
        if self._identity is None:
            return f"<{kind}, not bound>"
        return f"<{kind} {self.name} {self.agent_id}>"

    def bind(self, identity: Identity, resume: Resume, rule: Rule) -> None:
        """Take an identity; done once, by the `HubClient`."""
        self._identity = identity
        self._resume = resume
        self._rule = rule
        self._bound.set()

    @property
    def identity(self) -> Identity:
        """What the connection knows of it."""
        assert self._identity is not None
        return self._identity

    @property
    def agent_id(self) -> str:
        """Its id."""
        return self.identity.agent_id

    @property
    def name(self) -> str:
        """Its name."""
        return self.identity.name

    @property
    def passport(self) -> Passport:
        """Its passport as the hub stamped it."""
        return self.identity.passport

    @property
    def peers(self) -> Peers:
        """The others: who there is to ask."""
        return Peers(self)

    @property
    def resume(self) -> Resume:
        """Its resume as it was last read or set here."""
        return self._resume

    @property
    def rule(self) -> Rule:
        """Its rule as it was last read or set here."""
        return self._rule
