"""
Strict decoding of JSON into records, with answers that name everything that was wrong.

msgspec decodes (it is the fastest and does not coerce), but stops at the first fault. So when it
refuses, cattrs goes over the same bytes again without hurry and collects every bad field, which
is what the author of a peer wants to read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Literal, TypeVar, get_args, get_origin

import attrs
import cattrs
import msgspec
from cattrs.errors import ClassValidationError, IterableValidationError
from cattrs.v import transform_error

from ..errors import FrameError

__all__ = [
    "EXPLAINED_BYTES_MAX",
    "NAMED_FAULTS_MAX",
    "decode_strictly",
    "encode",
    "forget_frames",
    "problems_in",
]

T = TypeVar("T")

encode = msgspec.json.Encoder().encode

#: Faults of one message that are named. One sentence for each is help, a thousand are an attack.
NAMED_FAULTS_MAX = 20
#: The largest message of which more faults than the first are named: that takes some microseconds for
#: each value, faulty or not, which is 100 s for the largest that a hub takes.
EXPLAINED_BYTES_MAX = 4 * 1024


_decode_as: Callable[[Any], Callable[[bytes | str | msgspec.Raw], Any]] = functools.cache(
    lambda wanted: msgspec.json.Decoder(wanted).decode
)


def decode_strictly(data: bytes | str | msgspec.Raw, wanted: type[T], what: str) -> T:
    """
    Decode `data` as a `wanted`; unknown fields are ignored, missing optional ones defaulted.

    Args:
        what: What it is called in the error, such as ``"request frame"``.

    Raises:
        FrameError: It is not JSON, too deeply nested, or has fields that are wrong or missing;
            the error lists all of them.
    """
    try:
        decoded: T = _decode_as(wanted)(data)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, RecursionError) or "recursion" in str(error):
            raise FrameError(f"malformed {what}: nested too deeply") from None
        raise FrameError(f"malformed {what}", problems=problems_in(data, wanted, error)) from None
    except RecursionError:
        raise FrameError(f"malformed {what}: nested too deeply") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise FrameError(f"malformed {what}: not JSON ({error})") from None
    return decoded


def problems_in(data: bytes | str | msgspec.Raw, wanted: Any, first: Exception) -> tuple[str, ...]:
    """
    Name every field of `data` that keeps it from being a `wanted`, each in one sentence.

    Only `first`, where `data` is so large that this would take long.
    """
    if _size_of(data) > EXPLAINED_BYTES_MAX:
        return (str(first)[:300],)
    try:
        plain = msgspec.json.decode(data)
        if not isinstance(plain, dict):
            return (f"expected a JSON object, got {_json_name(plain)}",)
        _CONVERTER.structure(plain, wanted)
    except (ClassValidationError, IterableValidationError) as error:
        problems = transform_error(error, path="$", format_exception=_say)
        shown = [problem[:300] for problem in problems[:NAMED_FAULTS_MAX]]
        if len(problems) > len(shown):
            shown.append(f"and {len(problems) - len(shown)} more")
        forget_frames(error)
        return tuple(shown)
    except RecursionError:
        return ("nested too deeply",)
    except (ValueError, TypeError) as error:
        return (str(error)[:300],)
    # The two disagree: what the strict one said counts.
    return (str(first)[:300],)


def forget_frames(error: BaseException) -> None:
    """
    Free what an error came through, for one that is kept instead of raised on.

    Its frames keep the faults that they collected, which refer to the frames, and since Python 3.12
    they also keep whoever called them and holds the error: circles, in which all that the peer was
    made of would wait for Python's collector.
    """
    waiting: list[BaseException] = [error]
    while waiting:
        one = waiting.pop()
        one.__traceback__ = None
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        if one.__context__ is not None:
            waiting.append(one.__context__)


def _size_of(data: bytes | str | msgspec.Raw) -> int:
    return len(memoryview(data) if isinstance(data, msgspec.Raw) else data)


def _say(error: BaseException, wanted: type | None) -> str:
    if isinstance(error, KeyError):
        return f"required field {error.args[0]!r} is missing"
    return str(error)


def _strictly(kind: type | tuple[type, ...], name: str) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _wanted: Any) -> Any:
        # bool is an int to Python, and nobody else.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise TypeError(f"expected {name}, got {_json_name(value)}")
        return value

    return structure


def _json_name(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a bool", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")


def _structure_literal(value: Any, wanted: Any) -> Any:
    if value not in get_args(wanted):
        choices = ", ".join(repr(choice) for choice in get_args(wanted))
        raise ValueError(f"expected one of {choices}, got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return repr(value[:60]) if isinstance(value, str) else _json_name(value)


def _structure_union(value: Any, wanted: Any) -> Any:
    failures = []
    for member in wanted.__args__:
        if member is type(None):
            if value is None:
                return None
            continue
        try:
            return _CONVERTER.structure(value, member)
        except (ClassValidationError, IterableValidationError):
            # Of the right shape, wrong inside: what is wrong inside is the answer.
            raise
        except (TypeError, ValueError) as error:
            failures.append(str(error))
    raise TypeError(" or ".join(dict.fromkeys(failures)))


def _structure_object(value: Any, wanted: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {_json_name(value)}")
    return _structure_attrs(value, wanted)


def _structure_mapping(value: Any, wanted: Any) -> Any:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {_json_name(value)}")
    member = wanted.__args__[1] if getattr(wanted, "__args__", ()) else Any
    return dict(_structure_items(value.items(), member, wanted))


def _structure_sequence(value: Any, wanted: Any) -> Any:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {_json_name(value)}")
    return tuple(item for _, item in _structure_items(enumerate(value), wanted.__args__[0], wanted))


def _structure_items(
    items: Iterable[tuple[int | str, Any]], member: Any, wanted: Any
) -> list[tuple[int | str, Any]]:
    faults: list[Exception] = []
    structured = []
    for place, item in items:
        try:
            structured.append((place, _CONVERTER.structure(item, member)))
        except Exception as error:  # collected, and raised together below
            error.add_note(cattrs.IterableValidationNote(f"at {place!r}", place, wanted))
            faults.append(error)
            if len(faults) > NAMED_FAULTS_MAX:
                break
    if faults:
        raise IterableValidationError("while structuring a collection", faults, wanted)
    return structured


def _structure_enum(value: Any, wanted: Any) -> Any:
    choices = [member.value for member in wanted]
    if value not in choices:
        shown = ", ".join(map(repr, choices))
        raise ValueError(f"expected one of {shown}, got {_shown(value)}")
    return wanted(value)


def _structure_attrs(value: dict[str, Any], wanted: Any) -> Any:
    faults: list[Exception] = []
    fields: dict[str, Any] = {}
    hints = attrs.resolve_types(wanted)
    for field in attrs.fields(hints):
        if field.name not in value:
            if field.default is attrs.NOTHING:
                faults.append(_noted(KeyError(field.name), wanted, field))
            continue
        try:
            structured = _CONVERTER.structure(value[field.name], field.type)
            # Here rather than when the record is made, which stops at the first.
            if field.validator is not None:
                field.validator(None, field, structured)
            fields[field.name] = structured
        except Exception as error:  # collected, and raised together below
            faults.append(_noted(error, wanted, field))
    if faults:
        raise ClassValidationError(f"while structuring {wanted.__name__}", faults, wanted)
    return wanted(**fields)


def _noted(error: Exception, wanted: Any, field: Any) -> Exception:
    note = cattrs.AttributeValidationNote(
        f"structuring {wanted.__name__}.{field.name}", field.name, field.type
    )
    error.add_note(note)
    return error


def _is_union(wanted: Any) -> bool:
    return str(wanted).startswith("typing.Union") or type(wanted).__name__ == "UnionType"


def _is_literal(wanted: Any) -> bool:
    return get_origin(wanted) is Literal


def _origin_is(*kinds: type) -> Callable[[Any], bool]:
    return lambda wanted: wanted in kinds or getattr(wanted, "__origin__", None) in kinds


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    converter.register_structure_hook(str, _strictly(str, "a string"))
    converter.register_structure_hook(int, _strictly(int, "a whole number"))
    converter.register_structure_hook(float, _strictly((int, float), "a number"))
    converter.register_structure_hook(bool, _strictly(bool, "true or false"))
    # An enum of strings is a string too, so this hook must be nearer to it than that for `str`.
    converter.register_structure_hook(StrEnum, _structure_enum)
    converter.register_structure_hook(msgspec.Raw, lambda value, _: value)
    converter.register_structure_hook_func(lambda it: it is object, lambda value, _: value)
    converter.register_structure_hook_func(_origin_is(tuple), _structure_sequence)
    converter.register_structure_hook_func(_origin_is(dict), _structure_mapping)
    converter.register_structure_hook_func(attrs.has, _structure_object)
    converter.register_structure_hook_func(_is_literal, _structure_literal)
    converter.register_structure_hook_func(_is_union, _structure_union)
    return converter


_CONVERTER = _make_converter()
