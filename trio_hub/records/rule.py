"""
What an agent may do, and how much: access lists and limits, enforced by the hub.

Everything is permitted by default; 0 means no limit.
"""

from __future__ import annotations

from typing import Literal

import attrs

from .duration import Duration, check_duration

__all__ = [
    "AccessBlock",
    "ChannelTypeAccess",
    "InboxBlock",
    "LimitsBlock",
    "Overflow",
    "RateBlock",
    "Rule",
]

Overflow = Literal["reject", "drop_oldest", "drop_newest"]

_EVERYONE = ("*",)
_not_negative = attrs.validators.ge(0)


@attrs.frozen(kw_only=True)
class ChannelTypeAccess:
    """Which types of channel (globs) an agent may open, and may be invited to."""

    initiate: tuple[str, ...] = _EVERYONE
    accept: tuple[str, ...] = _EVERYONE


@attrs.frozen(kw_only=True)
class AccessBlock:
    """Whom (globs over names) an agent hears, and whom it may speak to."""

    inbound_from: tuple[str, ...] = _EVERYONE
    outbound_to: tuple[str, ...] = _EVERYONE
    channel_types: ChannelTypeAccess = ChannelTypeAccess()


@attrs.frozen(kw_only=True)
class RateBlock:
    """
    A token bucket.

    Attributes:
        per_minute: Posts in the long run. 0, no limit, because only whoever runs an agent knows
            how much it is to say; one that has got into a loop is noticed by others' limits.
        burst: Posts at once; 0 is as many as `per_minute`.
    """

    per_minute: int = attrs.field(
        default=0, validator=_not_negative, metadata={"unit": "posts a minute"}
    )
    burst: int = attrs.field(default=0, validator=_not_negative, metadata={"unit": "posts"})


@attrs.frozen(kw_only=True)
class InboxBlock:
    """
    How much may wait for an agent.

    Attributes:
        max_pending: Unsettled envelopes, delivered or not, before `overflow` applies. A thousand,
            as with AG2: more than a healthy agent ever lets wait.
        overflow: Refuse the post, or settle the oldest or the new one as dropped.
        high_water: Where pressure is reported; None is 80 % of `max_pending`, 0 never.
    """

    max_pending: int = attrs.field(
        default=1000, validator=_not_negative, metadata={"unit": "envelopes"}
    )
    overflow: Overflow = attrs.field(
        default="reject",
        validator=attrs.validators.in_(("reject", "drop_oldest", "drop_newest")),
        metadata={"choice": True},
    )
    high_water: int | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(_not_negative),
        metadata={"unit": "envelopes"},
    )


@attrs.frozen(kw_only=True)
class LimitsBlock:
    """
    How much an agent may have and do. 0 is no limit; durations as in `records.duration`.

    Attributes:
        max_concurrent_channels: Channels that it has opened and that have not ended. 0, as an
            idle channel costs the hub little.
        max_concurrent_tasks: Its tasks that have not ended. 0, as with channels.
        channel_ttl_default: The time of a channel that is opened without one. Two hours: longer
            than what is being worked on, and what was forgotten goes by itself.
        task_ttl_default: Kept and shown as AG2 does, and applied to nothing.
        delegation_depth: How deep what it asks in a turn may have been asked already. Five are
            more than a plan that makes sense needs, and end a circle soon.
    """

    max_concurrent_channels: int = attrs.field(
        default=0, validator=_not_negative, metadata={"unit": "channels"}
    )
    max_concurrent_tasks: int = attrs.field(
        default=0, validator=_not_negative, metadata={"unit": "tasks"}
    )
    channel_ttl_default: Duration = attrs.field(
        default="2h", validator=check_duration, metadata={"unit": "a duration"}
    )
    task_ttl_default: Duration = attrs.field(
        default="15m", validator=check_duration, metadata={"unit": "a duration"}
    )
    rate: RateBlock = RateBlock()
    delegation_depth: int = attrs.field(
        default=5, validator=_not_negative, metadata={"unit": "delegations"}
    )
    inbox: InboxBlock = InboxBlock()


@attrs.frozen(kw_only=True)
class Rule:
    """The rule of one agent in one hub."""

    version: int = 1
    access: AccessBlock = AccessBlock()
    limits: LimitsBlock = LimitsBlock()
