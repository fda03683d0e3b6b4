"""
What the operators of a hub allow an agent at most, whatever its own rule says.

Records of their own beside `Rule`: what is not set is None here, and says nothing, and what peers
of other makes read as a rule has a fixed set of fields.
"""

from __future__ import annotations

import attrs

from .duration import Duration, check_duration
from .rule import LimitsBlock, Overflow, RateBlock

__all__ = [
    "AccessCeiling",
    "ChannelTypeCeiling",
    "EffectiveAccess",
    "EffectiveRule",
    "InboxCeiling",
    "LimitsCeiling",
    "OperatorRule",
    "OperatorRulePage",
]

_not_negative = attrs.validators.optional(attrs.validators.ge(0))

#: Lists of globs, each of which must allow a name.
AllOf = tuple[tuple[str, ...], ...]


@attrs.frozen(kw_only=True)
class ChannelTypeCeiling:
    """Types of channel (globs) beyond which an agent opens none, and is invited to none."""

    initiate: tuple[str, ...] | None = None
    accept: tuple[str, ...] | None = None


@attrs.frozen(kw_only=True)
class AccessCeiling:
    """Names (globs) beyond which an agent hears nobody, and speaks to nobody."""

    inbound_from: tuple[str, ...] | None = None
    outbound_to: tuple[str, ...] | None = None
    channel_types: ChannelTypeCeiling = ChannelTypeCeiling()


@attrs.frozen(kw_only=True)
class InboxCeiling:
    """
    How much may wait for an agent at most.

    Attributes:
        max_pending: As in `InboxBlock`; the lesser one counts.
        overflow: What happens then, in place of what the agent wants.
        high_water: As in `InboxBlock`, the lesser one counts; None is 80 % of `max_pending` where
            that is set, and says nothing where it is not.
    """

    max_pending: int | None = attrs.field(default=None, validator=_not_negative)
    overflow: Overflow | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(
            attrs.validators.in_(("reject", "drop_oldest", "drop_newest"))
        ),
    )
    high_water: int | None = attrs.field(default=None, validator=_not_negative)


@attrs.frozen(kw_only=True)
class LimitsCeiling:
    """
    How much an agent may have and do at most. 0 is no limit, as None is.

    Attributes:
        channel_ttl_max: How long a channel that it opens may live, also one for which it names no
            TTL.
        rate: As in `LimitsBlock`, the lesser number of each; a `burst` of 0 is as `per_minute`.
    """

    max_concurrent_channels: int | None = attrs.field(default=None, validator=_not_negative)
    max_concurrent_tasks: int | None = attrs.field(default=None, validator=_not_negative)
    channel_ttl_max: Duration | None = attrs.field(default=None, validator=check_duration)
    rate: RateBlock | None = None
    delegation_depth: int | None = attrs.field(default=None, validator=_not_negative)
    inbox: InboxCeiling = InboxCeiling()


@attrs.frozen(kw_only=True)
class OperatorRule:
    """
    A ceiling over the rule of whoever has a name, set by an operator of the hub.

    It permits nothing by itself: what is in force is the stricter of both, field by field.
    """

    version: int = 1
    access: AccessCeiling = AccessCeiling()
    limits: LimitsCeiling = LimitsCeiling()


@attrs.frozen(kw_only=True)
class EffectiveAccess:
    """Lists of globs, each of which must allow a name; none of them allows every name."""

    inbound_from: AllOf = ()
    outbound_to: AllOf = ()
    initiate: AllOf = ()
    accept: AllOf = ()


@attrs.frozen(kw_only=True)
class EffectiveRule:
    """
    What is in force for an agent: the stricter of its own rule and its operators'.

    Attributes:
        channel_ttl_max: How long a channel that it opens may live; 0 is for ever.
    """

    version: int = 1
    access: EffectiveAccess = EffectiveAccess()
    limits: LimitsBlock
    channel_ttl_max: Duration = attrs.field(default=0, validator=check_duration)


@attrs.frozen(kw_only=True)
class OperatorRulePage:
    """Names for which operators have set a rule, sorted; go on behind `after`, until it is null."""

    names: tuple[str, ...]
    after: str | None = None
