"""
The hub as it was at another revision, as a peer like any other.

What git has is unpacked beside the working copy, without touching it, and run by the same
interpreter. Load and clients stay those of the working copy, so that the hub alone is compared;
an old one that does not know a frame of theirs fails that question, and says so.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

from benchmarks.peers import PEERS, ROOT, Peer

__all__ = ["NoSuchRevision", "at_revision"]


class NoSuchRevision(Exception):
    """Git knows nothing by that name, or there is no hub in it."""


def at_revision(revision: str, directory: Path, repository: Path = ROOT) -> Peer:
    """
    Unpack the hub of a revision, and return it as a peer that keeps what is posted.

    Args:
        revision: Anything that git takes for one.
        directory: Where it is unpacked; it must live as long as the peer is asked.
        repository: Whose revision it is.

    Raises:
        NoSuchRevision: There is none, or it has no package `trio_hub`.
    """
    done = subprocess.run(
        ["git", "archive", "--format=tar", "--end-of-options", revision, "trio_hub"],
        cwd=repository,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise NoSuchRevision(f"no hub at {revision!r} in {repository}: {said}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(directory, filter="data")
    return replace(PEERS["trio_hub"], name=f"trio_hub@{revision}", root=directory)
