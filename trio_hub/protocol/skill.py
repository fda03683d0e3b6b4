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
import frontmatter
from frontmatter.default_handlers import YAMLHandler

__all__ = ["FRONT_MATTER_CHARACTERS_MAX", "Skill", "read_skill"]

#: Front matter says in a few lines what the page is about; more is not read.
FRONT_MATTER_CHARACTERS_MAX: Final = 16_384
# What front matter amounts to once all its aliases are followed: values, and characters in them.
_WEIGHT_MAX: Final = 65_536
_DEPTH_MAX: Final = 16
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
    if not _YAML.detect(markdown):
        return Skill(markdown=markdown, body=markdown)
    try:
        metadata, body = frontmatter.parse(markdown, handler=_YAML)
        return Skill(markdown=markdown, body=body, metadata=_plain_mapping(metadata))
    # The loader makes objects of what it reads, and raises whatever their types do.
    except Exception as error:
        return Skill(markdown=markdown, body=markdown, problem=_in_one_line(error))


def _in_one_line(error: Exception) -> str:
    words = " ".join(f"{type(error).__name__}: {error}".split())[:_PROBLEM_CHARACTERS_MAX]
    return "".join(it if it.isprintable() else "?" for it in words)


class _FrontMatter(YAMLHandler):  # type: ignore[misc, unused-ignore]  # where it has no types
    """YAML that is short, and a mapping."""

    def load(self, fm: str, **kwargs: object) -> dict[str, Any]:
        if len(fm) > FRONT_MATTER_CHARACTERS_MAX:
            raise ValueError(
                f"front matter of {len(fm)} characters is more than {FRONT_MATTER_CHARACTERS_MAX}"
            )
        loaded = super().load(fm, **kwargs)
        if loaded is not None and not isinstance(loaded, dict):
            raise ValueError(f"front matter is a mapping, not a {type(loaded).__name__}")
        return loaded or {}


_YAML: Final = _FrontMatter()


def _plain_mapping(metadata: dict[str, Any]) -> dict[str, Any]:
    plain = _Plain().value(metadata, 0)
    assert isinstance(plain, dict)
    return plain


class _Plain:
    """Makes JSON data of what YAML has loaded, as much as there may be."""

    def __init__(self) -> None:
        self._room = _WEIGHT_MAX

    def value(self, value: object, depth: int) -> Any:
        self._take(1)
        if depth > _DEPTH_MAX:
            raise ValueError(f"front matter is nested deeper than {_DEPTH_MAX}")
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
