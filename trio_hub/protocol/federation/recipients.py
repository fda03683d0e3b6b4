"""
Who is owed what is in a channel's log, where some of those who take part live at other hubs.

An agent here is owed what is addressed to it. All participants of another hub are owed it as one:
by their *link*, which is owed whatever is addressed to any of them and did not come from there.
One recipient has one lane in each channel, so what crosses to a hub crosses in the order of the
log, whomever it is for.

In a reflection everything that was said here goes to the hub that owns the channel, whomever it
is for, and what came from there goes nowhere: that is what keeps an envelope from going round.

Who was removed is owed nothing more. Only that it was removed its hub is still told, or that would
take the channel for one that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set

import attrs

from ...records import ChannelMetadata, Envelope, is_addressed_to
from ..adapters.base import left_by

__all__ = ["Recipients", "recipients_of"]


@attrs.frozen
class Recipients:
    """
    Those who are owed something by the log of a channel.

    Attributes:
        ids: Their ids: agents that live here, and links.
        is_addressed: Whether one of them is owed an envelope.
        owner: The link to the hub that the channel belongs to; None where that is this hub.
        far: Who takes part, or did, and lives elsewhere.
    """

    ids: tuple[str, ...]
    is_addressed: Callable[[Envelope, str], bool] = is_addressed_to
    owner: str | None = None
    far: frozenset[str] = frozenset()

    @property
    def is_reflection(self) -> bool:
        """Whether the channel belongs to another hub."""
        return self.owner is not None


def recipients_of(
    metadata: ChannelMetadata,
    link_of: Callable[[str], str | None],
    removed: Iterable[str] = (),
) -> Recipients:
    """
    Work out who is owed what in a channel.

    Args:
        link_of: Returns the link by which an agent is reached, or None for one that lives here.
        removed: Who took part once.
    """
    links: dict[str, set[str]] = {}
    ids: dict[str, None] = {}
    for agent_id in metadata.participant_ids:
        link = link_of(agent_id)
        if link is not None:
            links.setdefault(link, set()).add(agent_id)
        ids[agent_id if link is None else link] = None
    from_there = {link: set(members) for link, members in links.items()}
    for agent_id in removed:
        link = link_of(agent_id)
        if link is not None:
            from_there.setdefault(link, set()).add(agent_id)
            ids[link] = None
    if not from_there:
        return Recipients(metadata.participant_ids)
    owner = link_of(metadata.creator_id)
    addressing = _Addressing(links, from_there, owner)
    return Recipients(
        tuple(ids), addressing.is_addressed, owner, frozenset().union(*from_there.values())
    )


@attrs.frozen
class _Addressing:
    via: Mapping[str, Set[str]]
    from_there: Mapping[str, Set[str]]
    owner: str | None

    def is_addressed(self, envelope: Envelope, agent_id: str) -> bool:
        from_there = self.from_there.get(agent_id)
        if from_there is None:
            return is_addressed_to(envelope, agent_id)
        if envelope.sender_id in from_there:
            return False
        if agent_id == self.owner or not from_there.isdisjoint(left_by(envelope)):
            return True
        return any(is_addressed_to(envelope, it) for it in self.via.get(agent_id, ()))
