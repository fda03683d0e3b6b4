"""The hub: a Trio shell around the pure protocol."""

from .arbiter import (
    Allow as Allow,
    Decision as Decision,
    Deny as Deny,
    HubArbiter as HubArbiter,
    RuleArbiter as RuleArbiter,
)
from .audit import AuditLog as AuditLog
from .federation import FederationDoor as FederationDoor, PeerHealth as PeerHealth
from .health import HubHealth as HubHealth
from .hub import Hub as Hub
from .limits import HubLimits as HubLimits
from .listeners import HubListener as HubListener, ListenerHealth as ListenerHealth
from .remote_agents import (
    ProxyRoute as ProxyRoute,
    RemoteAgentProxy as RemoteAgentProxy,
    Undeliverable as Undeliverable,
)
