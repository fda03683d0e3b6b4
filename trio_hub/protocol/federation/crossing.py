"""
What goes from one hub to another: one envelope, the way it took, and how the other side took it.

Sender and audience are addresses, for each hub has ids of its own. The envelope keeps the id that
it has at the hub it comes from. Together they are the key under which the other hub posts it, so
that it has one effect there however often it arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...errors import ProtocolError
from ...records import ChannelMetadata, Envelope, Passport, Resume

__all__ = [
    "HOPS_MAX",
    "AgentCard",
    "Crossing",
    "CrossingAnswer",
    "check_path",
    "crossing_key",
    "id_in_key",
    "is_loop",
    "path_from",
    "renamed",
]

#: Hubs that an envelope has passed when it comes to another one: where it was said, and the one that
#: owns the channel. More are a loop, or a mistake.
HOPS_MAX = 2


@attrs.frozen(kw_only=True)
class Crossing:
    """
    An envelope between two hubs.

    Attributes:
        path: The hubs that it has been in, the one that sends it last.
        envelope: With addresses in place of ids of agents.
        cause_hub: The hub in whose ids `envelope.causation_id` is; None where there is none.
        channel: With an invite: the channel, with addresses too.
    """

    path: tuple[str, ...]
    envelope: Envelope
    cause_hub: str | None = None
    channel: ChannelMetadata | None = None


@attrs.frozen(kw_only=True)
class CrossingAnswer:
    """
    What became of an envelope that has crossed.

    Attributes:
        envelope_id: Its id there, durable; "" where it was not taken.
        code: Of the error that it was not taken with; "" where it was.
        message: Of that error.
        is_final: It will never be taken. Otherwise: try again, in `retry_after_seconds`.
    """

    envelope_id: str = ""
    code: str = ""
    message: str = ""
    is_final: bool = False
    retry_after_seconds: float | None = None


@attrs.frozen(kw_only=True)
class AgentCard:
    """An agent as it is shown to another hub."""

    passport: Passport
    resume: Resume = attrs.field(factory=Resume)


def crossing_key(hub: str, envelope_id: str) -> str:
    """Return the idempotency key of an envelope that has that id at another hub."""
    return f"hub:{hub}:{envelope_id}"


def id_in_key(key: str | None, hub: str) -> str | None:
    """Return the id at a hub of an envelope that came from there, or None: it did not."""
    prefix = crossing_key(hub, "")
    return key.removeprefix(prefix) if key is not None and key.startswith(prefix) else None


def path_from(me: str, came_from: str | None) -> tuple[str, ...]:
    """Return the path of an envelope that leaves here; `came_from`: its sender's hub, if another."""
    return (me,) if came_from is None else (came_from, me)


def is_loop(path: tuple[str, ...], me: str) -> bool:
    """Whether an envelope that has come by `path` has been here before, or anywhere twice."""
    return me in path or len(set(path)) != len(path)


def check_path(path: tuple[str, ...], *, me: str, peer: str) -> None:
    """
    Refuse what goes round in circles, or too far.

    Raises:
        ProtocolError: It has been here before, has come too far, or not from where it says.
    """
    if is_loop(path, me):
        raise ProtocolError(f"a loop: the envelope came to hub {me!r} by {' > '.join(path)}")
    if not 1 <= len(path) <= HOPS_MAX:
        raise ProtocolError(f"{len(path)} hops are none of what can lead to hub {me!r}")
    if path[-1] != peer:
        raise ProtocolError(f"hub {peer!r} says that it is hub {path[-1]!r}")


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return JSON with every text in it that is one of `names` replaced, keys included."""
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, Mapping):
        return {names.get(key, key): renamed(it, names) for key, it in value.items()}
    if isinstance(value, list | tuple):
        return [renamed(it, names) for it in value]
    return value
