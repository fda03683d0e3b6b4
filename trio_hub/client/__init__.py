"""The client: one connection to a hub that comes back by itself, and the agents on it."""

from .agent_client import AgentClient as AgentClient
from .agents import (
    Agent as Agent,
    AgentFunction as AgentFunction,
    FunctionAgent as FunctionAgent,
    ScriptedAgent as ScriptedAgent,
    Turn as Turn,
)
from .channel import Channel as Channel
from .checkpoints import (
    CheckpointStore as CheckpointStore,
    HubBackedCheckpointStore as HubBackedCheckpointStore,
    VersionedCheckpointStore as VersionedCheckpointStore,
)
from .handlers import (
    Handler as Handler,
    accept_invite as accept_invite,
    already_replied as already_replied,
    ask_agent as ask_agent,
    decline_invite as decline_invite,
    default_handler as default_handler,
    handler_with as handler_with,
    is_turn as is_turn,
    may_take_turn as may_take_turn,
    post_reply as post_reply,
    take_turn as take_turn,
)
from .hub_client import HubClient as HubClient
from .human_client import HumanClient as HumanClient
from .peers import PeerProfile as PeerProfile, Peers as Peers
from .states import (
    ClientState as ClientState,
    IdentityChange as IdentityChange,
    Reconnect as Reconnect,
    StateChange as StateChange,
)
from .task import Task as Task
