"""
Tools: async functions that a model may call.

The signature says everything: names and types become the JSON schema that the model is shown, and
arguments are checked against it before the function runs.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final

import attrs
import msgspec

from ..client import Turn

__all__ = ["Outcome", "Tool", "ToolBox"]

_TURN_PARAMETER: Final = "turn"
_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@attrs.frozen(eq=False)
class Tool:
    """
    A function as a model sees it; `Tool.of` makes one of a function.

    Attributes:
        name: What the model calls it by.
        description: When and how to use it.
        parameters: The JSON schema of its arguments, an object.
        call: Given the turn and the arguments as JSON; returns the result, or raises
            `msgspec.ValidationError` where the arguments do not fit.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[[Turn, bytes], Awaitable[Any]] = attrs.field(repr=False)

    @classmethod
    def of(
        cls, function: Callable[..., Awaitable[Any]], *, name: str = "", description: str = ""
    ) -> Tool:
        """
        Make a tool of an async function.

        Args:
            function: Its parameters need types that msgspec can read; `Annotated` with
                `msgspec.Meta(description=...)` tells the model more. One called ``turn`` is not
                shown to the model: it gets the `Turn`, whose attempt number says whether an
                earlier attempt may have acted already.
            name: Instead of the function's own.
            description: Instead of its docstring.

        Raises:
            TypeError: A parameter has no type, or one that cannot be read from JSON.
        """
        tool_name = name or getattr(function, "__name__", "")
        arguments, wants_turn = _arguments_of(function, tool_name)
        # Once per schema rather than per call: making a decoder is the expensive part.
        decode = msgspec.json.Decoder(arguments, strict=False).decode

        async def call(turn: Turn, raw: bytes) -> Any:
            given = msgspec.structs.asdict(decode(raw or b"{}"))
            return await function(**given, **({_TURN_PARAMETER: turn} if wants_turn else {}))

        return cls(
            tool_name, description or inspect.getdoc(function) or "", _schema_of(arguments), call
        )


@attrs.frozen
class Outcome:
    """
    What came of a call.

    Attributes:
        text: What to tell the model.
        ok: Whether it worked.
        value: What the tool returned, where it did.
    """

    text: str
    ok: bool
    value: Any = None


class ToolBox:
    """
    The tools of one agent, by name.

    Args:
        tools: Tools, or async functions to make some of.

    Raises:
        ValueError: Two have one name.
    """

    def __init__(self, tools: Iterable[Tool | Callable[..., Awaitable[Any]]] = ()) -> None:
        self._tools: dict[str, Tool] = {}
        for given in tools:
            tool = given if isinstance(given, Tool) else Tool.of(given)
            if tool.name in self._tools:
                raise ValueError(f"two tools are called {tool.name!r}: give one another name")
            self._tools[tool.name] = tool

    def __iter__(self) -> typing.Iterator[Tool]:
        return iter(self._tools.values())

    def __contains__(self, name: str) -> bool:
        return name in self._tools

    async def run(self, turn: Turn, name: str, arguments: bytes) -> Outcome:
        """
        Run a tool; return what came of it.

        A tool that raises, arguments that do not fit and a name that is none are told to the
        model, which may try something else; the turn goes on.

        Cancellation: cancels the tool.
        """
        tool = self._tools.get(name)
        if tool is None:
            known = ", ".join(self._tools) or "there are none"
            return Outcome(f"there is no tool called {name!r}; known: {known}", ok=False)
        try:
            result = await tool.call(turn, arguments)
        except (msgspec.DecodeError, UnicodeError) as error:
            return Outcome(f"the arguments of {name} do not fit: {error}", ok=False)
        except Exception as error:
            return Outcome(f"{name} failed: {type(error).__name__}: {error}", ok=False)
        told = result if isinstance(result, str) else _written(result)
        return Outcome(told, ok=True, value=result)


def _written(result: Any) -> str:
    return msgspec.json.encode(result, enc_hook=str).decode()


def _arguments_of(
    function: Callable[..., Awaitable[Any]], tool_name: str
) -> tuple[type[msgspec.Struct], bool]:
    hints = typing.get_type_hints(function, include_extras=True, localns={"Turn": Turn})
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    wants_turn = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == _TURN_PARAMETER:
            wants_turn = True
            continue
        if parameter.kind not in _KINDS or parameter.name not in hints:
            raise TypeError(
                f"the tool {tool_name!r} cannot take {str(parameter)!r}: a model passes arguments "
                "by name, and each needs a type"
            )
        one = (parameter.name, hints[parameter.name])
        has_default = parameter.default is not inspect.Parameter.empty
        fields.append((*one, parameter.default) if has_default else one)
    return msgspec.defstruct("Arguments", fields, kw_only=True), wants_turn


def _schema_of(arguments: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the schema with the object itself on top, where those who serve models want it."""
    _, components = msgspec.json.schema_components((arguments,), ref_template="#/$defs/{name}")
    schema: dict[str, Any] = dict(components.pop("Arguments"))
    schema.pop("title", None)
    return schema | {"$defs": components} if components else schema
