"""
What the lists of operators' rules forbid.

The hub looks at them itself, before it asks its arbiter: an agent's own lists and an operator's
both have to allow a name, and two lists of globs are in general not one. What operators set about
numbers has become part of the agents' limits by then; see `protocol.operator_rules`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import AccessDeniedError
from ..protocol.operator_rules import allows, is_longer
from ..records import ChannelManifest, Duration, Envelope, Passport
from ..records.envelope import CHANNEL_EVENT_PREFIX
from .registry import Registration

__all__ = ["check_open", "check_send", "check_ttl", "is_heard", "may_speak", "not_heard"]


def check_send(sender: Registration, envelope: Envelope, recipients: Iterable[Passport]) -> None:
    """Let a post pass, or raise `AccessDeniedError`. What is said about a channel always passes."""
    bounds = sender.bounds
    if bounds is None or envelope.event_type.startswith(CHANNEL_EVENT_PREFIX):
        return
    for recipient in recipients:
        if not allows(bounds.outbound_to, recipient.name):
            raise _not_sent(sender, recipient)


def is_heard(sender: Registration, recipient: Registration) -> bool:
    """Whether operators let a recipient hear a sender."""
    bounds = recipient.bounds
    return bounds is None or allows(bounds.inbound_from, sender.passport.name)


def not_heard(sender: Registration, recipient: Registration) -> AccessDeniedError:
    """Return why a recipient does not hear a sender."""
    return AccessDeniedError(
        f"{recipient.passport.name!r} takes nothing from {sender.passport.name!r} "
        "(access.inbound_from, set by an operator)"
    )


def may_speak(sender: Registration, recipient: Registration) -> bool:
    """Whether operators let one agent speak to another."""
    bounds = sender.bounds
    return (bounds is None or allows(bounds.outbound_to, recipient.passport.name)) and is_heard(
        sender, recipient
    )


def check_open(
    manifest: ChannelManifest, creator: Registration, invitees: Sequence[Registration]
) -> None:
    """Let a channel be opened, or raise `AccessDeniedError`."""
    bounds = creator.bounds
    if bounds is not None and not allows(bounds.channel_types.initiate, manifest.type):
        raise AccessDeniedError(
            f"an operator does not let {creator.passport.name!r} open a {manifest.type!r} "
            "(access.channel_types.initiate)"
        )
    for invitee in invitees:
        if bounds is not None and not allows(bounds.outbound_to, invitee.passport.name):
            raise _not_sent(creator, invitee.passport)
        if not is_heard(creator, invitee):
            raise not_heard(creator, invitee)
        if invitee.bounds is not None and not allows(
            invitee.bounds.channel_types.accept, manifest.type
        ):
            raise AccessDeniedError(
                f"{invitee.passport.name!r} takes part in no {manifest.type!r} "
                "(access.channel_types.accept, set by an operator)"
            )


def check_ttl(creator: Registration, ttl: Duration) -> None:
    """Let a channel live for so long, or raise `AccessDeniedError`."""
    if creator.ceiling is not None and is_longer(ttl, creator.ceiling.limits.channel_ttl_max):
        raise AccessDeniedError(
            f"a channel of {creator.passport.name!r} lives for "
            f"{creator.ceiling.limits.channel_ttl_max} at most (limits.channel_ttl_max, set by an "
            "operator): ask for a shorter ttl"
        )


def _not_sent(sender: Registration, recipient: Passport) -> AccessDeniedError:
    return AccessDeniedError(
        f"an operator does not let {sender.passport.name!r} send to {recipient.name!r} "
        "(access.outbound_to)"
    )
