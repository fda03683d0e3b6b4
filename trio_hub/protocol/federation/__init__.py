"""
What is right between hubs, as pure code: names, allow lists, who is owed what, what crosses.

A channel belongs to the hub of its creator. Every other hub with an agent in it keeps a
*reflection*: what of the channel its own agents may see, under ids of its own. To the deliveries
of either side the other hub is one recipient, so what has to cross is owed by a log, with the
ledger of everybody.
"""

from .addresses import (
    HUB_SCHEME as HUB_SCHEME,
    MIRROR_PREFIX as MIRROR_PREFIX,
    Naming as Naming,
    hub_name as hub_name,
    link_name as link_name,
    login_name as login_name,
)
from .crossing import (
    AgentCard as AgentCard,
    Crossing as Crossing,
    CrossingAnswer as CrossingAnswer,
    check_path as check_path,
    crossing_key as crossing_key,
    path_from as path_from,
    renamed as renamed,
)
from .dial import DialState as DialState
from .policy import PeerPolicy as PeerPolicy
from .recipients import Recipients as Recipients, recipients_of as recipients_of
from .reflection import ReflectedMachine as ReflectedMachine
