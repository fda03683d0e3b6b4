"""
Options that can stand on the command line and in a configuration file under the same name.

Each is described once, as data: the parser, the checks of the file and the list of what a file
may hold come from the description. The command line wins over the file, the file over defaults.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..records.duration import duration_seconds
from .toml_files import load_toml, malformed, toml_name

__all__ = [
    "Kind",
    "Option",
    "choice",
    "count",
    "duration",
    "flag",
    "merge",
    "path",
    "port",
    "text",
    "texts",
    "typed_duration",
]


@attrs.frozen(kw_only=True)
class Kind:
    """
    What values an option takes.

    Attributes:
        from_words: Reads what was typed; None for a flag, which is followed by nothing. Raises
            `ValueError` with the reason.
        from_toml: Reads what stands in a file in the given directory; raises `ValueError` too.
        metavar: What stands for the value in the help.
        repeats: It may be typed several times, each adds one; in a file it is a list.
    """

    from_words: Callable[[str], Any] | None
    from_toml: Callable[[Any, Path], Any]
    metavar: str | None = None
    repeats: bool = False


@attrs.frozen(kw_only=True)
class Option:
    """
    One option.

    Attributes:
        name: Without the dashes; in a file it is the same.
        help: For ``--help``; the default is added to it.
        default: What it is where neither says anything.
        instead_of: Another option of which only one of both can hold: saying this on the
            command line overrules that in the file.
        negatable: For a flag: ``--no-NAME`` overrules a file that sets it.
        typed: The word for it on the command line where that is another one: a list has a name
            in the plural, and is typed one by one.
    """

    name: str
    kind: Kind
    help: str
    default: Any = None
    instead_of: str | None = None
    negatable: bool = False
    typed: str | None = None

    @property
    def key(self) -> str:
        """Its name in Python."""
        return self.name.replace("-", "_")

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add it to a parser; what was not typed is not in the result."""
        shown = self.help
        if self.default not in (None, False, ()):
            shown += f" (default: {self.default})"
        common: dict[str, Any] = {"dest": self.key, "default": argparse.SUPPRESS, "help": shown}
        read = self.kind.from_words
        if read is None:
            action: Any = argparse.BooleanOptionalAction if self.negatable else "store_true"
            parser.add_argument(f"--{self.name}", action=action, **common)
        else:
            if self.kind.repeats:
                common["action"] = "append"
            parser.add_argument(
                f"--{self.typed or self.name}",
                type=_typed(read),
                metavar=self.kind.metavar,
                **common,
            )


def merge(options: Sequence[Option], typed: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """
    Put together what was typed, what the file says, and the defaults.

    Args:
        typed: By `Option.key`, only what was typed.
        config: The configuration file, if there is one.

    Raises:
        CommandError: The file cannot be read, or something in it is wrong; all of it is named.
    """
    filed = {} if config is None else _read_config(options, config)
    for option in options:
        if option.instead_of is not None and option.key in typed:
            filed.pop(option.instead_of, None)
    return {option.key: option.default for option in options} | filed | typed


def _read_config(options: Sequence[Option], path: Path) -> dict[str, Any]:
    by_name = {option.name: option for option in options}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in load_toml(path, "configuration file").items():
        option = by_name.get(name)
        if option is None:
            near = difflib.get_close_matches(name, by_name, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it can be {', '.join(by_name)}"
            problems.append(f"{name}: there is no such option; {hint}")
            continue
        try:
            values[option.key] = option.kind.from_toml(value, path.parent)
        except ValueError as error:
            problems.append(f"{name}: {error}")
    both = {option.key for option in options if option.instead_of and values.get(option.key)}
    if len(both) > 1:
        problems.append(f"{' and '.join(sorted(both))}: only one of them can stand here")
    if problems:
        raise malformed(path, "configuration file", problems)
    return values


def typed_duration(word: str) -> str | float:
    """Read a duration that was typed; for `argparse`."""
    value: str | float = _typed(_duration)(word)
    return value


def _typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    def value(word: str) -> Any:
        try:
            return read(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {toml_name(value)}")  # noqa: TRY004  as `Kind` says
    return value


def _filled(value: str) -> str:
    if not value:
        raise ValueError("expected a text that is not empty")
    return value


def text(metavar: str) -> Kind:
    """Any text that is not empty."""
    return Kind(
        from_words=_filled, from_toml=lambda value, _: _filled(_string(value)), metavar=metavar
    )


def texts(metavar: str) -> Kind:
    """Some texts, none of them empty."""

    def listed(value: Any, _folder: Path) -> list[str]:
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {toml_name(value)}")  # noqa: TRY004  as `Kind` says
        return [_filled(_string(one)) for one in value]

    return Kind(from_words=_filled, from_toml=listed, metavar=metavar, repeats=True)


def path(metavar: str) -> Kind:
    """A path. One in a file is relative to where the file is."""
    return Kind(
        from_words=lambda word: Path(_filled(word)).expanduser(),
        from_toml=lambda value, folder: folder / Path(_filled(_string(value))).expanduser(),
        metavar=metavar,
    )


def choice(*choices: str) -> Kind:
    """One of some words."""

    def chosen(word: str) -> str:
        if word not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return word

    return Kind(
        from_words=chosen,
        from_toml=lambda value, _: chosen(_string(value)),
        metavar="|".join(choices),
    )


def _port(number: int) -> int:
    if not 0 <= number <= 65535:
        raise ValueError("expected a port from 0 to 65535 (0 takes a free one)")
    return number


def _typed_port(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise ValueError(f"expected a port from 0 to 65535, got {word!r}")
    return _port(int(word))


def _filed_port(value: Any, _folder: Path) -> int:
    if type(value) is not int:
        raise ValueError(f"expected a whole number, got {toml_name(value)}")
    return _port(value)


def _filed_flag(value: Any, _folder: Path) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {toml_name(value)}")  # noqa: TRY004  as `Kind` says
    return value


def _duration(value: str | float) -> str | float:
    duration_seconds(value)
    return value


def _filed_duration(value: Any, _folder: Path) -> str | float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"expected a duration such as '30d', got {toml_name(value)}")  # noqa: TRY004  as `Kind` says
    return _duration(value)


def _typed_count(word: str) -> int:
    if not (word.isascii() and word.isdigit()):
        raise ValueError(f"expected a whole number, 0 or more, got {word!r}")
    return int(word)


def _filed_count(value: Any, _folder: Path) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a whole number, 0 or more, got {value!r}")
    return value


count = Kind(from_words=_typed_count, from_toml=_filed_count, metavar="N")
duration = Kind(from_words=_duration, from_toml=_filed_duration, metavar="DURATION")
port = Kind(from_words=_typed_port, from_toml=_filed_port, metavar="PORT")
flag = Kind(from_words=None, from_toml=_filed_flag)
