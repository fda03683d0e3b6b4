"""
Admission: where the hub asks its arbiter, and what becomes of the answer.

A denial is raised as the error that it names, and nothing has happened. An arbiter that breaks
denies as well: it raises something, returns no decision, or is a coroutine function. That is
logged with its traceback, and whoever asked is told that it was not their fault. Where it breaks
over handing an envelope to a recipient, the envelope becomes a dead letter, for an error must not
cost what was accepted.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NoReturn

import attrs

from .._logging import get_logger
from ..errors import AccessDeniedError, NetworkError, ProtocolError
from ..protocol.expectations.base import listed
from ..protocol.globs import why_not_globs
from ..protocol.operator_rules import glob_lists
from ..records import (
    ChannelManifest,
    ChannelMetadata,
    Envelope,
    OperatorRule,
    Passport,
    Resume,
    Rule,
)
from ..records.envelope import CHANNEL_EVENT_PREFIX
from .arbiter import ALLOW, Allow, Deny, HubArbiter, RuleArbiter
from .ceilings import check_open, check_send, is_heard, not_heard
from .registry import Registration, Registry

__all__ = ["Admission", "Refusal", "check_rule"]

log = get_logger(__name__)

# So many are looked up among the members one by one; for more, a set of those is made first.
_FEW: Final = 2


@attrs.frozen
class Refusal:
    """
    Why an envelope is not handed to a recipient.

    Attributes:
        is_failure: The arbiter broke; nobody decided anything.
    """

    error: NetworkError
    is_failure: bool = False


class Admission:
    """
    Asks the arbiter on behalf of the hub, once the lists of operators' rules have nothing against it.

    Args:
        arbiter: Decides.
        registry: Who there is.
        owed: Returns how many envelopes are unsettled in an agent's inbox.
        participants_max: So many may an audience name; more, where the channel has more.
    """

    def __init__(
        self,
        arbiter: HubArbiter,
        registry: Registry,
        owed: Callable[[str], int],
        *,
        participants_max: int,
    ) -> None:
        self._arbiter = arbiter
        self._find = registry.find
        self._owed = owed
        self._participants_max = participants_max
        self._authorize_send = arbiter.authorize_send
        self._authorize_inbox = arbiter.authorize_inbox
        self._authorize_dispatch = arbiter.authorize_dispatch

    def resolve_audience(self, metadata: ChannelMetadata, envelope: Envelope) -> Envelope:
        """
        Return an envelope whose audience takes part in its channel, each once, in its order.

        Raises:
            ProtocolError: Part of it does not, and the arbiter knows nobody instead; or it is
                longer than any channel, and then nothing in it has been looked at.
        """
        audience = envelope.audience
        if audience is None:
            return envelope
        members: Collection[str] = metadata.participant_ids
        if len(audience) > 1:
            # The channel may be from a time when more were allowed.
            if len(audience) > self._participants_max and len(audience) > len(members):
                raise ProtocolError(
                    f"an audience of {len(audience)} is more than the {self._participants_max} "
                    "that a channel may have; without one, everybody else is meant"
                )
            if len(frozenset(audience)) < len(audience):
                audience = tuple(dict.fromkeys(audience))
                envelope = attrs.evolve(envelope, audience=audience)
            if len(audience) > _FEW:
                members = frozenset(members)
        unknown = [it for it in audience if it not in members]
        if not unknown:
            return envelope
        try:
            instead = self._arbiter.resolve_unknown_audience(envelope, unknown)
            if instead is not None:
                instead = tuple(instead)
        except Exception as error:
            _fail("resolve_unknown_audience", error)
        if instead is None or not set(instead) <= set(members):
            strangers = unknown if instead is None else sorted(set(instead) - set(members))
            raise ProtocolError(
                f"audience: {listed(strangers)} take no part in channel {metadata.channel_id}"
            )
        known = [it for it in audience if it in members]
        return attrs.evolve(envelope, audience=tuple(dict.fromkeys([*known, *instead])))

    def check_post(
        self, sender: Registration, metadata: ChannelMetadata, envelope: Envelope
    ) -> None:
        """
        Let a post pass, or raise what the arbiter denies it with.

        It is asked of the sender first, so that who may not send learns nothing of inboxes.
        """
        find, sender_id, audience = self._find, envelope.sender_id, envelope.addressees
        recipients: list[Registration] = []
        passports: list[Passport] = []
        for participant in metadata.participants:
            agent_id = participant.agent_id
            if agent_id != sender_id and (audience is None or agent_id in audience):
                recipient = find(agent_id)
                if recipient is not None:
                    recipients.append(recipient)
                    passports.append(recipient.passport)
        if sender.bounds is not None:
            check_send(sender, envelope, passports)
        what = "authorize_send"
        try:
            decision = self._authorize_send(envelope, sender.passport, sender.rule, passports)
            # The usual answer costs no call more.
            denial = None if decision is ALLOW else _denial(decision)
            if denial is None:
                what = "authorize_inbox"
                for recipient, passport in zip(recipients, passports, strict=True):
                    decision = self._authorize_inbox(
                        envelope, passport, recipient.rule, self._owed(recipient.agent_id)
                    )
                    denial = None if decision is ALLOW else _denial(decision)
                    if denial is not None:
                        break
        except Exception as error:
            _fail(what, error)
        if denial is not None:
            raise denial

    def refusal(self, envelope: Envelope, recipient_id: str) -> Refusal | None:
        """Return why an envelope is not handed to a recipient, or None: it is."""
        if envelope.event_type.startswith(CHANNEL_EVENT_PREFIX):
            # It is the hub that speaks.
            return None
        sender, recipient = self._find(envelope.sender_id), self._find(recipient_id)
        if sender is None or recipient is None:
            # Who is gone has no name any more to be matched. It had one when it was let in.
            return None
        if recipient.bounds is not None and not is_heard(sender, recipient):
            return Refusal(not_heard(sender, recipient))
        try:
            decision = self._authorize_dispatch(
                envelope, sender.passport, recipient.passport, recipient.rule
            )
            denial = None if decision is ALLOW else _denial(decision)
        except NetworkError as error:
            denial = error
        except Exception as error:
            return Refusal(_failure("authorize_dispatch", error), is_failure=True)
        return None if denial is None else Refusal(denial)

    def check_open(
        self,
        manifest: ChannelManifest,
        creator: Registration,
        participants: Sequence[Registration],
        active_creator_channels: int,
    ) -> None:
        """Let a channel be opened, or raise what the arbiter denies it with."""
        invitees = [it for it in participants if it.agent_id != creator.agent_id]
        check_open(manifest, creator, invitees)
        self._check(
            "authorize_channel_open",
            manifest,
            creator.passport,
            creator.rule,
            [it.passport for it in invitees],
            [it.rule for it in invitees],
            active_creator_channels,
        )

    def check_register(self, passport: Passport, resume: Resume, rule: Rule) -> None:
        """Let an identity register, or raise what the arbiter denies it with."""
        check_rule(rule)
        self._check("authorize_register", passport, resume, rule)

    def forget(self, name: str) -> None:
        """Let the arbiter drop what it keeps of an agent, where it keeps anything."""
        if isinstance(self._arbiter, RuleArbiter):
            self._arbiter.forget(name)

    def _check(self, what: str, *about: Any) -> None:
        try:
            denial = _denial(getattr(self._arbiter, what)(*about))
        except Exception as error:
            _fail(what, error)
        if denial is not None:
            raise denial


def check_rule(rule: Rule | OperatorRule) -> None:
    """
    Refuse a rule whose globs would cost the hub too much.

    Raises:
        ProtocolError: Names every list that is too long.
    """
    problems = [
        f"access.{name}: {why}"
        for name, patterns in glob_lists(rule.access).items()
        if patterns is not None and (why := why_not_globs(patterns)) is not None
    ]
    if problems:
        raise ProtocolError(f"the rule is refused: {'; '.join(problems)}")


def _denial(decision: Any) -> NetworkError | None:
    """Return what a decision denies with, or None; raise `TypeError` where it is none."""
    if isinstance(decision, Allow):
        return None
    if isinstance(decision, Deny):
        return decision.error(decision.reason, retry_after_seconds=decision.retry_after_seconds)
    if inspect.iscoroutine(decision):
        decision.close()
        raise TypeError("it is a coroutine function; an arbiter decides without waiting")
    raise TypeError(f"it returned {decision!r}, which is neither Allow nor Deny")


def _fail(what: str, error: Exception) -> NoReturn:
    # One that raises an error of ours instead of returning it in a `Deny` means the same.
    if isinstance(error, NetworkError):
        raise error
    raise _failure(what, error) from error


def _failure(what: str, error: Exception) -> NetworkError:
    log.error("the arbiter failed", decision=what, exc_info=error)
    return AccessDeniedError(
        f"the hub's arbiter failed ({what}), so nothing was done; tell the hub's operator"
    )
