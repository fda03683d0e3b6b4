"""
How a protocol of `websockets` is let go of, so that it is gone at once.

The library keeps the exception that ended a connection; that refers to the frames it came from, and
they to the protocol: a circle. What is in a circle waits for Python's collector, which a hub runs
rarely. Of the connections that break, thousands would pile up until then.
"""

from __future__ import annotations

from websockets.protocol import Protocol

__all__ = ["let_go"]


def let_go(protocol: Protocol) -> None:
    """End a protocol that is not used any more. Why it ended can still be read."""
    protocol.receive_eof()
    # It waits for more even so, in a frame that refers to the protocol as well.
    protocol.parser.close()
    for error in (protocol.parser_exc, protocol.handshake_exc):
        cause: BaseException | None = error
        while cause is not None:
            cause.__traceback__ = None
            cause = cause.__cause__ or cause.__context__
