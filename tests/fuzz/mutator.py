"""
Spoils valid frames: in their JSON, where a field has another value than it should, and in their
characters, where it is no JSON any more. The same generator of random numbers, the same messages.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from .seeds import SEEDS

__all__ = ["mutated"]

_BYTES_MAX = 300
_DEEP = 2_000

#: What is likely to be handled wrongly somewhere.
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**53,
    2**63,
    2**64,
    10**400,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "0" * 32,
    "\x00",
    "\ud800",
    "\N{RIGHT-TO-LEFT OVERRIDE}",
    "a" * 5_000,
    "__init__",
    "2h",
    "ack",
    "post_envelope",
    [],
    {},
    [[]],
    [None],
    {"": {}},
)
_CHARACTERS = '{}[]",:\\/ \n\r\t0123456789eE+-.truefalsn\x00\x7f\x80\xff\u2028\ud800\U0001f600'
_BITS = 7


def mutated(rng: random.Random) -> str:
    """Return the next message: one frame, or several of them in lines."""
    parts = [_one(rng)]
    while rng.random() < 0.1:
        parts.append(_one(rng))
    return rng.choice(("\n", "\n\n", "\r\n", "")).join(parts)


def _one(rng: random.Random) -> str:
    choice = rng.random()
    if choice < 0.05:
        # latin-1 maps every byte to a character.
        return rng.randbytes(rng.randrange(_BYTES_MAX)).decode("latin-1")
    if choice < 0.06:
        return _deep(rng)
    seed = rng.choice(SEEDS)
    if choice < 0.5:
        return _with_other_values(rng, seed)
    if choice < 0.95:
        return _with_other_characters(rng, seed)
    return _with_other_characters(rng, _with_other_values(rng, seed))


def _deep(rng: random.Random) -> str:
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    depth = rng.randrange(_DEEP)
    nested = opening * depth + "1" + closing * (depth if rng.random() < 0.5 else 0)
    field = rng.choice(("params", "envelope", "kind", "auth_claim", "event_data"))
    return f'{{"kind":"request","request_id":"r","op":"register","{field}":{nested}}}'


def _with_other_values(rng: random.Random, seed: str) -> str:
    document = json.loads(seed)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        _spoil(rng, document)
    return json.dumps(document, ensure_ascii=rng.random() < 0.5)


def _spoil(rng: random.Random, node: Any) -> None:
    """Change one thing somewhere inside."""
    while True:
        places: list[Any] = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not places:
            if isinstance(node, dict):
                node["new"] = _value(rng)
            else:
                node.append(_value(rng))
            return
        place = rng.choice(places)
        inner = node[place]
        if not (isinstance(inner, dict | list) and rng.random() < 0.8):
            break
        node = inner
    match rng.randrange(4):
        case 0:
            del node[place]
        case 1 if isinstance(node, dict):
            node[str(rng.choice(_VALUES))[:_BYTES_MAX]] = node.pop(place)
        case 2:
            other = json.loads(rng.choice(SEEDS))
            node[place] = rng.choice(list(other.values()))
        case _:
            node[place] = _value(rng)


def _value(rng: random.Random) -> Any:
    # A copy: what is spoiled further must not stay so.
    return copy.deepcopy(rng.choice(_VALUES))


def _with_other_characters(rng: random.Random, text: str) -> str:
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        start = rng.randrange(len(text) + 1)
        stop = min(len(text), start + rng.choice((0, 1, 1, 2, 5, 20)))
        match rng.randrange(6):
            case 0:
                text = text[:start] + text[stop:]
            case 1:
                text = text[:start] + rng.choice(_CHARACTERS) + text[start:]
            case 2:
                text = text[:start] + rng.choice(_CHARACTERS) + text[stop:]
            case 3 if start < len(text):
                flipped = chr(ord(text[start]) ^ 1 << rng.randrange(_BITS))
                text = text[:start] + flipped + text[start + 1 :]
            case 4:
                text = text[:stop] + text[start:stop] * rng.randrange(5) + text[stop:]
            case _:
                other = rng.choice(SEEDS)
                text = text[:start] + other[rng.randrange(len(other)) :]
        if rng.random() < 0.02:
            return text[: rng.randrange(len(text) + 1)]
    return text
