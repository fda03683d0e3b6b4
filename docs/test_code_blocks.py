"""
Every ``python`` code block of the documentation is a whole program, and runs.

Each runs in a process and an empty directory of its own, with warnings as errors. A block that
shows a part of something is marked ``text`` and does not claim to run.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parent
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> list[pytest.param]:
    """Return every block with the page and line that it stands on."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            name = f"{page.relative_to(DOCS.parent)}:{line}"
            found.append(pytest.param(match[1], id=name))
    return found


@pytest.mark.parametrize("program", blocks())
def test_code_block_runs(program: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = re.findall(r"^.*# prints: (.*)$", program, re.MULTILINE)
    assert [line for line in done.stdout.splitlines() if line] == expected or not expected
