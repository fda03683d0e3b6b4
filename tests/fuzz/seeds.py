"""
Valid frames to begin from: every kind, and a request for every operation, with every field.

``python -m tests.fuzz.seeds DIRECTORY`` writes each into a file, for fuzzers that read a corpus.
"""

from __future__ import annotations

import json
import sys
import types
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from trio_hub.wire.frames import Frame
from trio_hub.wire.operations import OPERATIONS

__all__ = ["SEEDS", "example"]


def example(wanted: Any) -> Any:
    """Return plain JSON that can be read as a `wanted`."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if attrs.has(wanted):
        fields = attrs.fields(attrs.resolve_types(wanted))
        return {field.name: example(field.type) for field in fields}
    if origin in (Union, types.UnionType):
        return example(next(it for it in arguments if it is not type(None)))
    if origin is Literal:
        return arguments[0]
    if origin is tuple:
        return [example(arguments[0])]
    if origin is dict:
        return {"key": example(arguments[1])}
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        return next(iter(wanted)).value
    plain = {str: "2h", int: 1, float: 1.5, bool: True, type(None): None}
    # Anything else carries what an application likes.
    return plain.get(wanted, {"any": ["thing", 1, None]})


def _seeds() -> list[str]:
    seeds = [json.dumps({**example(cls), "kind": cls.kind}) for cls in get_args(Frame)]
    for operation in OPERATIONS.values():
        request = {"kind": "request", "request_id": "r1", "op": operation.name}
        seeds.append(json.dumps({**request, "params": example(operation.params)}))
    return seeds


#: Texts of frames, none of which is malformed.
SEEDS = tuple(_seeds())


if __name__ == "__main__":
    for number, seed in enumerate(SEEDS):
        Path(sys.argv[1], f"seed-{number}").write_text(seed)
