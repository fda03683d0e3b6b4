"""
Starts AG2's programs quickly: it has imported AG2 already, and forks.

AG2 takes seconds to import, and the suite starts hundreds of its processes. Each is still a
process of its own, with its own sockets, and dies for real; only the import is shared, the way
`multiprocessing`'s fork server shares it.

The control socket is given by number. One message on it asks for one process:
`["program.py", "--flag", ...]`, along with its stdin, stdout and stderr. The answer is its id.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import socket
import sys

#: What AG2's programs import, found here once.
_IMPORTED = [
    "ag2.knowledge",
    "ag2.network",
    "ag2.testing",
    "websockets.asyncio.client",
    "websockets.asyncio.server",
]
_MESSAGE_BYTES_MAX = 65536


def become(command: list[str], streams: list[int]) -> None:
    """Be that program, until it ends."""
    status = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")
        status = 0
    except BaseException:  # whatever it is, it ends this process and nothing else
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def main() -> None:
    """Start what is asked for until nobody is left to ask."""
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in _IMPORTED:
        importlib.import_module(name)
    while True:
        message, streams, _, _ = socket.recv_fds(control, _MESSAGE_BYTES_MAX, 3)
        if not message:
            return
        # Bury those that have died.
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        child = os.fork()
        if child == 0:
            control.close()
            become(json.loads(message), streams)
        for stream in streams:
            os.close(stream)
        control.send(str(child).encode())


if __name__ == "__main__":
    main()
