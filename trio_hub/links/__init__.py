"""Links: the doors between agents and hubs. Only this package knows about sockets."""

from .base import (
    EndpointServer as EndpointServer,
    Link as Link,
    MessageStream as MessageStream,
)
from .cork import Cork as Cork
from .endpoint import LinkEndpoint as LinkEndpoint, Side as Side
from .limits import LinkLimits as LinkLimits, ServerLimits as ServerLimits
from .local import LocalLink as LocalLink, local_stream_pair as local_stream_pair
from .outbox import Outbox as Outbox
from .server import WsServer as WsServer, serve_ws as serve_ws
from .transport import TransportName as TransportName, choose_transport as choose_transport
from .ws import WsLink as WsLink, WsLinkEndpoint as WsLinkEndpoint
