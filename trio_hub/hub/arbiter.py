"""
The arbiter: who may say what to whom, open which channel, and register at all.

The hub asks it before anything happens, and what it denies has not happened. `RuleArbiter` is the
one that is asked by default: it enforces the `Rule` of each agent. An application that wants more
inherits from it, or writes a `HubArbiter` of its own that asks another one first::

    class Quiet(RuleArbiter):
        def authorize_send(self, envelope, sender, sender_rule, recipients):
            if envelope.priority == "background" and is_night():
                return Deny("background work waits for the morning")
            return super().authorize_send(envelope, sender, sender_rule, recipients)

Decisions are plain functions, not coroutines: they are made between reading the state of a
channel and writing the next envelope into its log, where nobody else may come in between. What
needs the network or a disk has to be known before it is asked. An arbiter that breaks (raises,
or returns something that is no decision) denies; see `admission`.

Names are those of AG2's arbiter, so that one can be carried over: leave out ``async``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs
import trio

from ..errors import AccessDeniedError, InboxFull, NetworkError, RateLimited
from ..protocol.globs import EVERYTHING, compile_globs
from ..protocol.limits import TokenBucket
from ..records import ChannelManifest, Envelope, Passport, Resume, Rule, is_bookkeeping
from ..records.envelope import CHANNEL_EVENT_PREFIX
from .gate import COME_BACK_AFTER_SECONDS

__all__ = ["ALLOW", "DEPARTED_NAMES_MAX", "Allow", "Decision", "Deny", "HubArbiter", "RuleArbiter"]

#: Names that were unregistered whose rate is still known, should they come back; then the oldest is
#: forgotten. A megabyte or two.
DEPARTED_NAMES_MAX = 10_000


@attrs.frozen
class Allow:
    """Let it happen."""


@attrs.frozen
class Deny:
    """
    Do not let it happen.

    Attributes:
        reason: A sentence for whoever asked: what was wrong, and what would be right.
        error: What is raised. One that is `retryable` invites the client to try again.
        retry_after_seconds: With such an error, when.
    """

    reason: str
    error: type[NetworkError] = AccessDeniedError
    retry_after_seconds: float | None = None


Decision = Allow | Deny

#: The one `Allow` that is needed.
ALLOW = Allow()


class HubArbiter(Protocol):
    """
    Decides for one hub.

    Every method gets all that it needs, must not change the hub, and returns at once. Passports
    come without claims. Limits in a rule are those that are in force, no laxer than operators set
    them; what the lists of operators forbid is refused before anybody is asked.
    """

    def authorize_send(
        self,
        envelope: Envelope,
        sender: Passport,
        sender_rule: Rule,
        recipients: Sequence[Passport],
    ) -> Decision:
        """
        Whether an envelope may be posted.

        It is asked of everything that an agent posts, but not of what repeats an earlier post.

        Args:
            envelope: As it came, neither id nor time stamped yet.
            sender: Who posts it.
            sender_rule: The sender's rule.
            recipients: Whom it is addressed to, as far as they are registered; not the sender.
        """
        ...

    def authorize_inbox(
        self, envelope: Envelope, recipient: Passport, recipient_rule: Rule, current_pending: int
    ) -> Decision:
        """
        Whether a recipient has room for an envelope. One that has not refuses it for everybody.

        Where the recipient's rule drops instead of refusing, allow: it is dropped later.

        Args:
            current_pending: How many envelopes are unsettled in the recipient's inbox.
        """
        ...

    def authorize_dispatch(
        self, envelope: Envelope, sender: Passport, recipient: Passport, recipient_rule: Rule
    ) -> Decision:
        """
        Whether an envelope that is in the log is handed to one of its recipients.

        It is asked when the envelope would go into the recipient's window, live or read back from
        the log, and not of what the hub itself says about a channel. A recipient for whom it is
        denied is passed over as if the envelope were not addressed to it, and for good: the
        envelope counts as settled. The sender is not told.
        """
        ...

    def authorize_channel_open(
        self,
        manifest: ChannelManifest,
        creator: Passport,
        creator_rule: Rule,
        invitees: Sequence[Passport],
        invitee_rules: Sequence[Rule],
        active_creator_channels: int,
    ) -> Decision:
        """
        Whether a channel may be opened.

        Args:
            invitees: Those that are invited, without the creator.
            invitee_rules: Their rules, in the same order.
            active_creator_channels: How many channels of the creator's making have not ended.
        """
        ...

    def authorize_register(self, passport: Passport, resume: Resume, rule: Rule) -> Decision:
        """Whether an identity may register, whose credential was good."""
        ...

    def resolve_unknown_audience(
        self, envelope: Envelope, unknown_ids: Sequence[str]
    ) -> Sequence[str] | None:
        """
        Say whom to address instead of ids that take no part in the channel.

        None refuses the post. Those that are returned must take part; none of them is all right.
        """
        ...


class RuleArbiter:
    """
    Enforces the rules of agents, and permits what they say nothing about.

    - To send: every recipient's name is in `outbound_to`, the envelope is no deeper than
      `delegation_depth` unless it answers another one, and the rate holds. Answers to invites are
      always let through.
    - To open: the type is one that the creator may `initiate` and each invitee `accept`s, the
      invitees' names are in the creator's `outbound_to`, its name in their `inbound_from`, and it
      has fewer than `max_concurrent_channels` channels. Channels that others opened do not count,
      or they could use up what is one's own.
    - To be handed: the sender's name is in `inbound_from`. This is asked when a channel is
      opened, so later it denies only what a changed rule no longer admits.
    - To be put into an inbox: it holds less than `max_pending`, unless the rule drops.

    Args:
        clock: Seconds of a clock that does not step; by default Trio's, within a run.
    """

    def __init__(self, *, clock: Callable[[], float] = trio.current_time) -> None:
        self._clock = clock
        # By name. Bounded by the agents: one leaves with its agent, and a full one says nothing.
        self._buckets: dict[str, TokenBucket] = {}
        # Of names that nobody has any more, in the order in which they left.
        self._left: dict[str, TokenBucket] = {}

    def authorize_send(
        self,
        envelope: Envelope,
        sender: Passport,
        sender_rule: Rule,
        recipients: Sequence[Passport],
    ) -> Decision:
        """Whether the sender's rule lets it post this."""
        if envelope.event_type.startswith(CHANNEL_EVENT_PREFIX):
            return ALLOW
        outbound, limits = sender_rule.access.outbound_to, sender_rule.limits
        if outbound != EVERYTHING:
            may_hear = compile_globs(outbound)
            for recipient in recipients:
                if not may_hear(recipient.name):
                    return Deny(
                        f"the rule of {sender.name!r} does not let it send to {recipient.name!r} "
                        "(access.outbound_to)"
                    )
        # Whoever answers delegates nothing; it was let in as deep as it is by the rule of the asker.
        is_answer = envelope.causation_id is not None
        if 0 < limits.delegation_depth < envelope.depth and not is_answer:
            return Deny(
                f"a depth of {envelope.depth} is deeper than {sender.name!r} may delegate "
                f"({limits.delegation_depth}, limits.delegation_depth)"
            )
        if limits.rate.per_minute:
            return self._authorize_rate(sender, sender_rule)
        return ALLOW

    def authorize_inbox(
        self, envelope: Envelope, recipient: Passport, recipient_rule: Rule, current_pending: int
    ) -> Decision:
        """Whether the recipient's rule has room for it. Bookkeeping always has room."""
        limits = recipient_rule.limits.inbox
        if (
            current_pending < limits.max_pending
            or not limits.max_pending
            or limits.overflow != "reject"
            or is_bookkeeping(envelope.event_type)
        ):
            return ALLOW
        return Deny(
            f"{recipient.name!r} ({recipient.agent_id}) has {current_pending} unsettled "
            "envelopes, as many as its rule allows; nothing was posted, try again when it has "
            "caught up",
            InboxFull,
            COME_BACK_AFTER_SECONDS,
        )

    def authorize_dispatch(
        self, envelope: Envelope, sender: Passport, recipient: Passport, recipient_rule: Rule
    ) -> Decision:
        """Whether the recipient's rule admits the sender."""
        inbound = recipient_rule.access.inbound_from
        if inbound == EVERYTHING or compile_globs(inbound)(sender.name):
            return ALLOW
        return Deny(_not_heard(recipient, sender))

    def authorize_channel_open(
        self,
        manifest: ChannelManifest,
        creator: Passport,
        creator_rule: Rule,
        invitees: Sequence[Passport],
        invitee_rules: Sequence[Rule],
        active_creator_channels: int,
    ) -> Decision:
        """Whether the rules of all that are to take part let the channel be opened."""
        access = creator_rule.access
        if not compile_globs(access.channel_types.initiate)(manifest.type):
            return Deny(
                f"the rule of {creator.name!r} does not let it open a {manifest.type!r} "
                "(access.channel_types.initiate)"
            )
        may_hear = compile_globs(access.outbound_to)
        for invitee, rule in zip(invitees, invitee_rules, strict=True):
            if not may_hear(invitee.name):
                return Deny(
                    f"the rule of {creator.name!r} does not let it send to {invitee.name!r} "
                    "(access.outbound_to)"
                )
            if not compile_globs(rule.access.inbound_from)(creator.name):
                return Deny(_not_heard(invitee, creator))
            if not compile_globs(rule.access.channel_types.accept)(manifest.type):
                return Deny(
                    f"{invitee.name!r} takes part in no {manifest.type!r} "
                    "(access.channel_types.accept)"
                )
        most = creator_rule.limits.max_concurrent_channels
        if 0 < most <= active_creator_channels:
            return Deny(
                f"{creator.name!r} has {active_creator_channels} open channels, as many as its "
                "rule allows (limits.max_concurrent_channels); close one first"
            )
        return ALLOW

    def authorize_register(self, passport: Passport, resume: Resume, rule: Rule) -> Decision:
        """Whether anything is against it: nothing is."""
        return ALLOW

    def resolve_unknown_audience(
        self, envelope: Envelope, unknown_ids: Sequence[str]
    ) -> Sequence[str] | None:
        """Know nobody instead: the post is refused, where AG2 drops the unknown silently."""
        return None

    def forget(self, name: str) -> None:
        """
        Keep nothing of an agent that is no more, but what it has sent of late.

        Whoever comes next under its name goes on with that, or registering anew would be a way
        around an operator's rule.
        """
        bucket = self._buckets.pop(name, None)
        if bucket is not None:
            self._left[name] = bucket
        while self._left:
            oldest = next(iter(self._left))
            if self._left[oldest].full_at > self._clock() and len(self._left) <= DEPARTED_NAMES_MAX:
                break
            del self._left[oldest]

    def _authorize_rate(self, sender: Passport, rule: Rule) -> Decision:
        bucket = self._buckets.get(sender.name)
        if bucket is None:
            bucket = self._left.pop(sender.name, None) or TokenBucket()
            self._buckets[sender.name] = bucket
        rate = rule.limits.rate
        wait = bucket.take(self._clock(), per_minute=rate.per_minute, burst=rate.burst)
        if not wait:
            return ALLOW
        return Deny(
            f"{sender.name!r} has sent as much as its rule allows ({rate.per_minute} a minute); "
            f"nothing was posted, try again in {wait:.3g} s",
            RateLimited,
            wait,
        )


def _not_heard(recipient: Passport, sender: Passport) -> str:
    return f"{recipient.name!r} takes nothing from {sender.name!r} (access.inbound_from)"
