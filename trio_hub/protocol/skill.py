"""
An agent's skill page: Markdown, with front matter (YAML between two lines of ``---``) or without.

Whoever registers writes it, so it may hold anything. Whatever that is, a `Skill` comes out, of
bounded size and plain JSON data: front matter that cannot be read is a `problem`, and the page is
there all the same.
"""

from __future__ import annotations

import datetime
from typing import Any, Final

import attrs

__all__ = ["FRONT_MATTER_LEVELS_MAX", "FRONT_MATTER_VALUES_MAX", "Skill", "read_skill"]

#: What front matter amounts to once all its aliases are followed: values, and characters in them. A
#: few lines of aliases can stand for gigabytes.
FRONT_MATTER_VALUES_MAX: Final = 65_536
#: How deep lists and mappings may stand in each other in front matter: more than anybody can read.
FRONT_MATTER_LEVELS_MAX: Final = 16
_PROBLEM_CHARACTERS_MAX: Final = 300
# What every JSON reader takes for a number.
_INTEGERS: Final = range(-(2**63), 2**64)


@attrs.frozen(kw_only=True)
class Skill:
    """
    A skill page that was read.

    Attributes:
        markdown: The page as it was registered.
        body: The page without its front matter.
        metadata: The front matter, as JSON data; dates are texts.
        problem: Why there is no `metadata` although the page has front matter; None where all is
            well. For people: it may quote the page.
    """

    markdown: str
    body: str
    metadata: dict[str, Any] = attrs.field(factory=dict)
    problem: str | None = None

    @property
    def name(self) -> str:
        """What the front matter calls the skill, or ""."""
        return self._text("name")

    @property
    def description(self) -> str:
        """What the front matter says that the skill is for, or ""."""
        return self._text("description")

    def _text(self, key: str) -> str:
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""


def read_skill(markdown: str) -> Skill:
    """Read a skill page. Never raises: see `Skill.problem`."""
    # Reading YAML takes a while to import, and most programs read no page.
    from . import front_matter  # noqa: PLC0415,RUF100

    if not front_matter.is_in(markdown):
        return Skill(markdown=markdown, body=markdown)
    try:
        metadata, body = front_matter.parse(markdown)
        return Skill(markdown=markdown, body=body, metadata=_plain_mapping(metadata))
    # The loader makes objects of what it reads, and raises whatever their types do.
    except Exception as error:
        return Skill(markdown=markdown, body=markdown, problem=_in_one_line(error))


def _in_one_line(error: Exception) -> str:
    words = " ".join(f"{type(error).__name__}: {error}".split())[:_PROBLEM_CHARACTERS_MAX]
    return "".join(it if it.isprintable() else "?" for it in words)


def _plain_mapping(metadata: dict[str, Any]) -> dict[str, Any]:
    plain = _Plain().value(metadata, 0)
    assert isinstance(plain, dict)
    return plain


class _Plain:
    """Makes JSON data of what YAML has loaded, as much as there may be."""

    def __init__(self) -> None:
        self._room = FRONT_MATTER_VALUES_MAX

    def value(self, value: object, depth: int) -> Any:
        self._take(1)
        if depth > FRONT_MATTER_LEVELS_MAX:
            raise ValueError(f"front matter is nested deeper than {FRONT_MATTER_LEVELS_MAX}")
        match value:
            case dict():
                return {self._text(key): self.value(it, depth + 1) for key, it in value.items()}
            case list():
                return [self.value(it, depth + 1) for it in value]
            case None | bool():
                return value
            case int() if value in _INTEGERS:
                return value
            case float() if value - value == 0:
                return value
            case _:
                return self._text(value)

    def _text(self, value: object) -> str:
        match value:
            case datetime.date():
                text = value.isoformat()
            case str() | bool() | int() | float() | None:
                text = str(value)
            case _:
                raise ValueError(f"front matter holds a {type(value).__name__}")
        text.encode()  # Half of a character, which YAML can spell out, is no text.
        self._take(len(text))
        return text

    def _take(self, weight: int) -> None:
        self._room -= weight
        if self._room < 0:
            raise ValueError("front matter amounts to too much")
