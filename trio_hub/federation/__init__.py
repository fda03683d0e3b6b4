"""Hubs joined with hubs: agents of one reach those of another, also across a cut between them."""

from .federation import Federation as Federation
from .peer import Peer as Peer
from .proxy import HubProxy as HubProxy
