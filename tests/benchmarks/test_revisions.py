"""Another revision's hub is unpacked and run as it was, and the working copy stays as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.peers import start
from benchmarks.revisions import NoSuchRevision, at_revision

_HUB = 'print("a hub of {name}: listening on ws://127.0.0.1:1", flush=True); input()\n'


def _git(repository: Path, *words: str) -> None:
    # Whatever the person has configured must not matter here.
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *words], cwd=repository, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two revisions of a package that says which one it is."""
    repository = tmp_path / "repository"
    package = repository / "trio_hub"
    package.mkdir(parents=True)
    _git(repository, "init", "--quiet")
    for name in ("old", "new"):
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(_HUB.format(name=name))
        _git(repository, "add", ".")
        _git(repository, "commit", "--quiet", "-m", name)
        _git(repository, "tag", name)
    return repository


@pytest.mark.parametrize("revision", ["old", "new"])
def test_the_hub_of_a_revision_is_run(repository: Path, tmp_path: Path, revision: str) -> None:
    peer = at_revision(revision, tmp_path / "unpacked", repository)
    assert peer.name == f"trio_hub@{revision}"
    assert peer.available(sys.executable)
    assert f"a hub of {revision}" in (peer.root / "trio_hub" / "__main__.py").read_text()
    assert "a hub of new" in (repository / "trio_hub" / "__main__.py").read_text()
    with start(peer) as running:
        assert running.url == "ws://127.0.0.1:1"


@pytest.mark.parametrize("revision", ["none-such", "--output=x", ""])
def test_what_is_no_revision_is_refused(repository: Path, tmp_path: Path, revision: str) -> None:
    with pytest.raises(NoSuchRevision, match="no hub at"):
        at_revision(revision, tmp_path / "unpacked", repository)
    assert not (repository / "x").exists()
