"""
Packets: what an agent says in one turn of a workflow, and where it wants the next turn to go.

The JSON form is AG2's: ``{"routing": {"kind": ...}, "context_updates": {"set", "delete"},
"body"}``. What is not of that form is refused before it is logged, so that folding it cannot fail.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import attrs
import msgspec

from ...errors import ProtocolError, TooLarge

__all__ = [
    "CONTEXT_BYTES_MAX",
    "Finish",
    "Handoff",
    "Reply",
    "apply_context",
    "check_context",
    "check_context_bytes",
    "check_packet",
    "context_bytes",
    "context_growth",
    "packet_of",
]

#: The context variables of one workflow together, as JSON: each name and value with a colon and a comma.
#: They are copied with each change, stay in memory, and are in every snapshot of the channel. A
#: megabyte, as a task has, is thousands of decisions; documents belong into envelopes.
CONTEXT_BYTES_MAX: Final = 1024 * 1024

_encode = msgspec.json.Encoder().encode


@attrs.frozen
class Handoff:
    """
    An agent's answer in a workflow: let another one go on.

    Args:
        target: The other's name or id; it takes part in the channel. With a `tool` it may be "":
            the graph decides then, most often by a `ToolCalled` of that tool.
        reason: What it should do, or why it is the one.
        text: What was said to everybody, besides.
        tool: The tool that was called for it, which `ToolCalled` looks at.
    """

    target: str
    reason: str = ""
    text: str = ""
    tool: str = ""


@attrs.frozen
class Finish:
    """
    An agent's answer in a workflow: it is done, close the channel.

    Args:
        summary: What came of it.
        reason: Becomes the channel's `close_reason`.
        tool: The tool that was called for it.
    """

    summary: str = ""
    reason: str = "finished"
    tool: str = ""


#: What an agent may answer with; None and "" are silence.
Reply = str | Handoff | Finish | None

_KINDS: Final = ("text", "handoff", "finish")


def packet_of(reply: str | Handoff | Finish, *, target_id: str = "") -> dict[str, Any]:
    """
    Write the packet of an answer.

    Args:
        target_id: For a `Handoff`: the id of its target.
    """
    routing: dict[str, Any] = {"kind": "text"}
    body = reply if isinstance(reply, str) else ""
    if isinstance(reply, Handoff):
        routing = {"kind": "handoff", "tool": reply.tool or "handoff", "reason": reply.reason}
        # As AG2: without one, the graph decides.
        if target_id or reply.target:
            routing["target"] = target_id or reply.target
        body = reply.text
    elif isinstance(reply, Finish):
        routing = {"kind": "finish", "tool": reply.tool or "finish", "reason": reply.reason}
        routing["summary"] = body = reply.summary
    return {"routing": routing, "context_updates": {"set": {}, "delete": []}, "body": body}


def check_packet(data: Mapping[str, Any], participant_ids: Collection[str]) -> None:
    """Raise `ProtocolError` where a packet is not of the form, or hands off to an outsider."""
    routing = data.get("routing")
    if routing is not None:
        _check_routing(routing, participant_ids)
    body = data.get("body")
    if body is not None and not isinstance(body, str):
        raise ProtocolError(f"a packet's body is a text, not {type(body).__name__}")
    updates = data.get("context_updates")
    if updates is not None:
        if not isinstance(updates, Mapping):
            raise ProtocolError("a packet's context_updates are an object with `set` and `delete`")
        check_context(updates)


def _check_routing(routing: Any, participant_ids: Collection[str]) -> None:
    if not isinstance(routing, Mapping):
        raise ProtocolError("a packet's routing is an object with a `kind`")
    kind = routing.get("kind", "text")
    if kind not in _KINDS:
        raise ProtocolError(f"unknown kind of routing {kind!r}: it can be {', '.join(_KINDS)}")
    target = routing.get("target")
    if kind == "handoff" and target and target not in participant_ids:
        raise ProtocolError(
            f"handoff to {target!r}, who takes no part in the channel: routing.target is the id "
            "of a participant"
        )
    reason = routing.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise ProtocolError("a packet's routing.reason is a text")


def check_context(updates: Mapping[str, Any]) -> None:
    """Raise `ProtocolError` where changes of context variables are not of the form."""
    new, gone = updates.get("set"), updates.get("delete")
    if new is not None and not isinstance(new, Mapping):
        raise ProtocolError("context `set` is an object of variables and their values")
    if gone is not None and not (
        isinstance(gone, list | tuple) and all(isinstance(key, str) for key in gone)
    ):
        raise ProtocolError("context `delete` is a list of names of variables")


def apply_context(variables: Mapping[str, Any], updates: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the variables after changes; the ones given stay as they are."""
    new, gone = updates.get("set") or {}, updates.get("delete") or ()
    if not new and not gone:
        return variables
    # Copied in one go, and then as many steps as there are changes: both are the peers' to choose.
    after = dict(variables)
    for key in gone:
        after.pop(key, None)
    # As AG2 does: what is deleted and set in one go is set.
    after.update(new)
    return after


def context_bytes(variables: Mapping[str, Any]) -> int:
    """
    Return how large variables are, as `CONTEXT_BYTES_MAX` counts: what each adds to the JSON of
    them all, so that those that come and go can be added and subtracted.
    """
    # Two braces, and one comma less than there are variables.
    return len(_encode(variables)) - 1 if variables else 0


def context_growth(variables: Mapping[str, Any], updates: Mapping[str, Any]) -> int:
    """Return how much larger `apply_context` makes variables; only what changes is looked at."""
    new, gone = updates.get("set") or {}, updates.get("delete") or ()
    before = {key: variables[key] for key in (*new, *gone) if key in variables}
    return context_bytes(new) - context_bytes(before)


def check_context_bytes(before: int, growth: int) -> None:
    """
    Raise `TooLarge` where variables of `before` bytes grow over the limit. Whatever makes them
    smaller is fine, also where they are over it: they are older than the limit.
    """
    if growth > 0 and before + growth > CONTEXT_BYTES_MAX:
        raise TooLarge(
            f"the context variables of the workflow would have {before + growth} bytes, and "
            f"{CONTEXT_BYTES_MAX} are allowed: delete some, or set a reference to where the rest is"
        )
