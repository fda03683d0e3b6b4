"""
Where the hub keeps what in its store.

::

    /hub/id_floor                               no id above it was ever minted
    /agents/<agent id>/{passport,resume,rule,skill,delivery}
    /agents/<agent id>/latencies/<hash of a capability>
    /channels/<channel id>/metadata             a document
    /channels/<channel id>/log                  the write-ahead log: envelopes
    /channels/<channel id>/firings              a document: what has come of its expectations
    /snapshots/<channel id>/{state,other,pages} what folding the log has built, and so can again
    /cursors/<agent id>/<channel id>            how far a recipient has settled a channel
    /tasks/<task id>/{metadata,checkpoint,mark,writers}
    /dead_letters/<agent id>/<envelope id>
    /audit/log
    /operator_rules/names                       for whom operators have set a rule
    /operator_rules/<hash of a name>            what they have set
    /revocations/names                          whom operators have shut out
    /revocations/<hash of a name>               why, by whom and when
    /federation/<hub>/dial                      when to call another hub again
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

ID_FLOOR: Final = "/hub/id_floor"
AGENTS: Final = "/agents"
CHANNELS: Final = "/channels"
# Apart from the channels, whose documents are all read when a hub opens.
SNAPSHOTS: Final = "/snapshots"
CURSORS: Final = "/cursors"
TASKS: Final = "/tasks"
DEAD_LETTERS: Final = "/dead_letters"
FEDERATION: Final = "/federation"
#: What follows an agent's id in the paths of its latencies.
LATENCIES_PREFIX: Final = "latencies/"
OPERATOR_RULES: Final = "/operator_rules"
OPERATOR_RULE_NAMES: Final = "/operator_rules/names"
REVOCATIONS: Final = "/revocations"
AUDIT_LOG: Final = "/audit/log"


def passport(agent_id: str) -> str:
    """Return the path of an agent's passport."""
    return f"{AGENTS}/{agent_id}/passport"


def resume(agent_id: str) -> str:
    """Return the path of an agent's resume."""
    return f"{AGENTS}/{agent_id}/resume"


def rule(agent_id: str) -> str:
    """Return the path of an agent's rule."""
    return f"{AGENTS}/{agent_id}/rule"


def delivery_rule(agent_id: str) -> str:
    """Return the path of how an agent is delivered to."""
    return f"{AGENTS}/{agent_id}/delivery"


def latencies(agent_id: str, capability: str) -> str:
    """Return the path of how long an agent's tasks took that exercised a capability."""
    # Whatever stands in a capability's name, and however long it is, this is a path.
    name = blake2b(capability.encode(), digest_size=16).hexdigest()
    return f"{AGENTS}/{agent_id}/{LATENCIES_PREFIX}{name}"


def skill(agent_id: str) -> str:
    """Return the path of an agent's skill page."""
    return f"{AGENTS}/{agent_id}/skill"


def channel_metadata(channel_id: str) -> str:
    """Return the path of a channel's metadata."""
    return f"{CHANNELS}/{channel_id}/metadata"


def channel_log(channel_id: str) -> str:
    """Return the path of a channel's log."""
    return f"{CHANNELS}/{channel_id}/log"


def channel_firings(channel_id: str) -> str:
    """Return the path of what has come of a channel's expectations."""
    return f"{CHANNELS}/{channel_id}/firings"


def snapshot(channel_id: str, slot: int = 0) -> str:
    """Return the path of a snapshot of a channel; of one that is trimmed there are two, 0 and 1."""
    return f"{SNAPSHOTS}/{channel_id}/{'other' if slot else 'state'}"


def snapshot_pages(channel_id: str) -> str:
    """Return the path of the pages of what was posted that belong to a snapshot, a log."""
    return f"{SNAPSHOTS}/{channel_id}/pages"


def cursor(agent_id: str, channel_id: str) -> str:
    """Return the path of a recipient's cursor in a channel."""
    return f"{CURSORS}/{agent_id}/{channel_id}"


def task_metadata(task_id: str) -> str:
    """Return the path of a task."""
    return f"{TASKS}/{task_id}/metadata"


def task_checkpoint(task_id: str) -> str:
    """Return the path of a task's kept state."""
    return f"{TASKS}/{task_id}/checkpoint"


def task_mark(task_id: str) -> str:
    """Return the path of what is known of a task's kept state: its generation, whose lease."""
    return f"{TASKS}/{task_id}/mark"


def task_writers(task_id: str) -> str:
    """Return the path of the agents that may read and write the state of an unobserved task."""
    return f"{TASKS}/{task_id}/writers"


#: All that is kept for a task.
OF_A_TASK: Final = (task_metadata, task_checkpoint, task_mark, task_writers)


def dead_letter(agent_id: str, envelope_id: str) -> str:
    """Return the path of a dead letter."""
    return f"{DEAD_LETTERS}/{agent_id}/{envelope_id}"


def dial(hub: str) -> str:
    """Return the path of when to call another hub again."""
    return f"{FEDERATION}/{hub}/dial"
