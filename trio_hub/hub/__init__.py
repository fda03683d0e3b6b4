"""The hub: a Trio shell around the pure protocol."""

from .health import HubHealth as HubHealth
from .hub import Hub as Hub
from .limits import HubLimits as HubLimits
