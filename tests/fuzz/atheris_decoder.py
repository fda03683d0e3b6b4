"""
The decoder under atheris, which sees which branches a message takes and looks for new ones::

    nox -s fuzz -- -runs=1000000

Arguments are those of libFuzzer. A finding ends the process, and leaves its input in a file.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["trio_hub.wire", "trio_hub.records", "tests.fuzz"]):
    from tests.fuzz.invariant import check


def one_input(data: bytes) -> None:
    """Check the invariant for the bytes as text, where they are text, and as a binary message."""
    check(data)
    try:
        message = data.decode()
    except UnicodeDecodeError:
        message = data.decode("latin-1")
    check(message)


def main() -> None:
    """Run libFuzzer."""
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
