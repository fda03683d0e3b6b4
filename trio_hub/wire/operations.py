"""
The table of operations: what may be asked of a hub, with what, by whom.

Looking up the handler, decoding the parameters, deciding who may call, and the reference page
all come from these rows; adding an operation means adding a row and its handler in the hub.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

import attrs

from . import params as p

__all__ = ["LONG_ANSWERS", "OPERATIONS", "Caller", "Operation"]


class Caller(StrEnum):
    """
    Who may call an operation. A connection acts for the agents that are bound to it.

    ANY: every connection. ADMITTED: every connection; at a hub that wants credentials, only one
    that has shown one, so that who is there is no stranger's business. ARRIVING: the same, but
    a stranger may ask about the few names that it spells out, as clients do before they attach. SELF: the agent that the row's `subject` names is bound here.
    MEMBER: an agent bound here takes part in the channel that `subject` names. OWNER: the owner
    of the task that `subject` names is bound here. BOUND: at least one agent is bound here, and
    the handler shows it only what those agents may see. OPERATOR: an operator of the hub is
    bound here. SELF_OR_OPERATOR: either of them; where `subject` names nobody, only an operator.
    MEMBER_OR_OPERATOR: a member, or an operator, who need not take part. PEER: a hub that this one
    is joined with has logged in here; the handler finds out.
    """

    ANY = "any"
    ADMITTED = "any, once admitted"
    ARRIVING = "any, once admitted or on arrival"
    SELF = "self"
    MEMBER = "member"
    OWNER = "owner"
    BOUND = "bound"
    OPERATOR = "operator"
    SELF_OR_OPERATOR = "self or operator"
    MEMBER_OR_OPERATOR = "member or operator"
    PEER = "peer hub"


@attrs.frozen
class Operation:
    """
    One row.

    Attributes:
        name: The request's ``op``.
        params: The attrs class of its parameters.
        result: What comes back, in words for the reference page.
        caller: Who may call.
        subject: Reads from the parameters whom or what `caller` is about.
        summary: One sentence.
        params_name: What its parameters are called in errors.
    """

    name: str
    params: type[Any]
    result: str
    caller: Caller
    subject: Callable[[Any], str | None]
    summary: str
    params_name: str = attrs.field(init=False)

    @params_name.default
    def _name_params(self) -> str:
        return f"params of {self.name}"


def _nobody(_: object) -> None:
    return None


def _any(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(name, params, result, Caller.ANY, _nobody, summary)


def _admitted(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(name, params, result, Caller.ADMITTED, _nobody, summary)


def _arriving(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(name, params, result, Caller.ARRIVING, _nobody, summary)


def _self(
    name: str, params: type[Any], result: str, subject: Callable[[Any], str | None], summary: str
) -> Operation:
    return Operation(name, params, result, Caller.SELF, subject, summary)


def _member(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(name, params, result, Caller.MEMBER, lambda it: it.channel_id, summary)


def _member_or_operator(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(
        name, params, result, Caller.MEMBER_OR_OPERATOR, lambda it: it.channel_id, summary
    )


def _owner(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(name, params, result, Caller.OWNER, lambda it: it.task_id, summary)


def _self_or_operator(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(name, params, result, Caller.SELF_OR_OPERATOR, lambda it: it.agent_id, summary)


def _operator(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(name, params, result, Caller.OPERATOR, _nobody, summary)


def _peer(name: str, params: type[Any], result: str, summary: str) -> Operation:
    return Operation(name, params, result, Caller.PEER, _nobody, summary)


def _agent(it: Any) -> str:
    agent_id: str = it.agent_id
    return agent_id


_ROWS = (
    # Identities. An AG2 client asks for those of who is arriving before it attaches.
    _any(
        "register",
        p.Register,
        "passport, without its claim",
        "Register a new identity, once its credential is checked, and bind it here.",
    ),
    _self("unregister", p.OfAgent, "null", _agent, "Remove an identity for good."),
    _arriving("get_agent", p.OfAgentByNameOrId, "passport", "Look an agent up."),
    _arriving("find_agent_id", p.OfName, "agent id or null", "Look an id up by name."),
    _admitted("names_for", p.OfAgents, "{agent id: name}", "Resolve several ids to names."),
    _admitted("list_agents", p.ListAgents, "[passport]", "Find agents by what they can do."),
    _arriving("get_resume", p.OfAgent, "resume", "Read an agent's resume."),
    _self(
        "find_peers",
        p.FindPeers,
        "{peers, after}",
        _agent,
        "Find whom an agent could ask, in a few words each; go on behind after, until it is null.",
    ),
    _admitted(
        "get_track_record",
        p.OfAgent,
        "{capability: track record}",
        "Read what the hub has observed of an agent's tasks, with percentiles.",
    ),
    _admitted("get_skill", p.OfAgent, "markdown or null", "Read an agent's skill page."),
    _arriving("get_rule", p.OfAgent, "rule", "Read an agent's rule."),
    _self("set_resume", p.SetResume, "null", _agent, "Replace one's resume."),
    _self("set_skill", p.SetSkill, "null", _agent, "Replace one's skill page."),
    _self("set_rule", p.SetRule, "null", _agent, "Replace one's rule."),
    # Channels
    _self(
        "create_channel",
        p.CreateChannel,
        "channel metadata",
        lambda it: it.creator_id,
        "Open a channel: invite everybody, wait for their acks.",
    ),
    _member_or_operator(
        "get_channel", p.OfChannel, "channel metadata", "Read a channel's metadata."
    ),
    _member("close_channel", p.CloseChannel, "channel metadata", "Close a channel."),
    Operation(
        "list_channels",
        p.ListChannels,
        "[channel metadata]",
        Caller.BOUND,
        lambda it: it.agent_id,
        "List an agent's channels, or those of all that are bound here.",
    ),
    _self(
        "post_envelope",
        p.PostEnvelope,
        "envelope id",
        lambda it: it.envelope.sender_id,
        "Post an envelope; answered once it is durable.",
    ),
    _member_or_operator(
        "read_wal", p.ReadWal, "[envelope]", "Read a slice of a channel's log by position."
    ),
    _member_or_operator(
        "read_tail",
        p.ReadTail,
        "{start, envelopes}",
        "Read the last envelopes of a channel's log that the caller may see; go on below start.",
    ),
    _member_or_operator(
        "find_envelope_by_causation",
        p.FindEnvelopeByCausation,
        "envelope or null",
        "Find what an agent posted because of another envelope.",
    ),
    _member(
        "read_standing",
        p.OfEnvelope,
        "[{agent_id, state, is_connected, attempt}]",
        "Ask how far an envelope that the caller may see has come, to each whom it is for.",
    ),
    Operation(
        "can_send",
        p.CanSend,
        "bool",
        Caller.SELF_OR_OPERATOR,
        lambda it: it.sender_id,
        "Ask whether the channel's protocol would take a post of an agent now; of rules it knows"
        " nothing.",
    ),
    _self(
        "pending_turns_for",
        p.PendingTurnsFor,
        "[{channel_id, triggering_envelope_id, expected_at}]",
        _agent,
        "List the turns that protocols expect of an agent.",
    ),
    _self(
        "report_turn_failure",
        p.ReportTurnFailure,
        "null",
        _agent,
        "Tell the hub that a turn failed.",
    ),
    # Tasks
    _self(
        "observe_task",
        p.ObserveTask,
        "null",
        lambda it: it.metadata.owner_id,
        "Let the hub know of a task.",
    ),
    _owner("update_task", p.UpdateTask, "null", "Tell what changed about a task."),
    Operation(
        "get_task",
        p.OfTask,
        "task metadata",
        Caller.BOUND,
        _nobody,
        "Read a task of one's own, or of a channel one is in.",
    ),
    Operation(
        "list_tasks",
        p.ListTasks,
        "[task metadata]",
        Caller.BOUND,
        _nobody,
        "List tasks of one's own, or of channels one is in.",
    ),
    Operation(
        "wait_task",
        p.WaitTask,
        "task metadata",
        Caller.BOUND,
        _nobody,
        "Read such a task once it has ended, or after a while.",
    ),
    _self(
        "record_observation",
        p.RecordObservation,
        "null",
        lambda it: it.owner_id,
        "Count how a task that exercised a capability ended.",
    ),
    _owner("fire_task_event", p.FireTaskEvent, "null", "Report that mirroring a task failed."),
    _owner("checkpoint_task", p.CheckpointTask, "null", "Keep a task's state for a restart."),
    _owner("read_task_checkpoint", p.OfTask, "state or null", "Read a task's kept state."),
    _owner(
        "swap_task_checkpoint",
        p.SwapTaskCheckpoint,
        "generation",
        "Keep a task's state where it goes on from the one that is kept.",
    ),
    _owner(
        "read_task_generation",
        p.OfTask,
        "{state, generation}",
        "Read a task's kept state, and which one it is.",
    ),
    _owner(
        "lease_task",
        p.LeaseTask,
        "generation",
        "Take or renew the lease on a task, once no other worker has it.",
    ),
    _owner("release_task", p.ReleaseTask, "null", "Give the lease on a task back."),
    # Looking after a hub
    _self_or_operator(
        "get_delivery_rule",
        p.OfAgent,
        "delivery rule",
        "Read what of the hub's delivery is different for an agent.",
    ),
    _self_or_operator(
        "set_delivery_rule",
        p.SetDeliveryRule,
        "null",
        "Say how an agent is delivered to: after how many failures an envelope is a dead letter.",
    ),
    _operator(
        "set_operator_rule",
        p.SetOperatorRule,
        "null",
        "Set a ceiling over the rule of whoever has a name; null clears it.",
    ),
    _operator(
        "get_operator_rule",
        p.OfName,
        "operator rule or null",
        "Read what operators have set for a name.",
    ),
    _operator(
        "list_operator_rules",
        p.ListOperatorRules,
        "{names, after}",
        "List the names for which operators have set a rule; go on behind after, until it is null.",
    ),
    _operator(
        "revoke_agent",
        p.RevokeAgent,
        "revocation",
        "Shut out whoever has a name, now or later: it is told why and let go at once.",
    ),
    _operator(
        "reinstate_agent",
        p.OfName,
        "revocation or null",
        "Let whoever has a name come again; null says that it was not revoked.",
    ),
    _operator(
        "list_revocations",
        p.ListRevocations,
        "{revocations, after}",
        "List the names that are revoked, why and by whom; go on behind after, until it is null.",
    ),
    _self_or_operator(
        "get_effective_rule",
        p.OfAgent,
        "effective rule",
        "Read what is in force for an agent: the stricter of its own rule and its operators'.",
    ),
    _self_or_operator(
        "list_dead_letters",
        p.ListDeadLetters,
        "{letters, after}",
        "List what could not be delivered, oldest first; go on behind after, until that is null.",
    ),
    _self_or_operator(
        "read_dead_letter", p.OfDeadLetter, "envelope", "Read what could not be delivered."
    ),
    _self_or_operator(
        "replay_dead_letter",
        p.OfDeadLetter,
        "dead letter",
        "Deliver a dead letter once more: now, or when its recipient is back.",
    ),
    _self_or_operator(
        "discard_dead_letter",
        p.OfDeadLetter,
        "null",
        "Throw a dead letter away; its envelope stays in the log.",
    ),
    _operator("health", p.Nothing, "health", "Ask how the hub is doing."),
    _operator(
        "drain",
        p.Nothing,
        "null",
        "Have the hub take nothing new, write what it accepted, and part with everybody.",
    ),
    _operator(
        "read_audit",
        p.ReadAudit,
        "{records, start}",
        "Read the latest records of the audit log that meet what is given; go on before start.",
    ),
    # Between hubs
    _peer(
        "cross_envelope",
        p.CrossEnvelope,
        "{envelope_id, code, message, is_final, retry_after_seconds}",
        "Hand an envelope over; answered once it is durable or refused.",
    ),
    _peer(
        "cross_agents",
        p.CrossAgents,
        "name of this hub",
        "Say which agents may be known here.",
    ),
    _peer(
        "cross_can_send",
        p.CrossCanSend,
        "bool",
        "Ask whether one of their agents could post now.",
    ),
)

#: Every operation, by name.
OPERATIONS: dict[str, Operation] = {row.name: row for row in _ROWS}

#: Those that look things up, and whose answers may be as long as a message: a hub works out few of
#: them at once for one connection. None of them waits for anybody else.
LONG_ANSWERS: Final = frozenset(
    (
        *("list_agents", "find_peers", "list_channels", "pending_turns_for", "list_tasks"),
        *("read_wal", "read_tail", "find_envelope_by_causation", "read_standing"),
        *("read_task_checkpoint", "read_task_generation", "read_dead_letter", "read_audit"),
    )
)
