"""The front matter of a skill page: YAML between two lines of ``---``, read by a library."""

from __future__ import annotations

from typing import Any, Final

import frontmatter
from frontmatter.default_handlers import YAMLHandler

__all__ = ["FRONT_MATTER_CHARACTERS_MAX", "is_in", "parse"]

#: Of the front matter of a skill page, which says in a few lines what the page is about; more is not
#: read, since YAML takes long to read.
FRONT_MATTER_CHARACTERS_MAX: Final = 16_384


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


def is_in(markdown: str) -> bool:
    """Whether a page begins with front matter."""
    return bool(_YAML.detect(markdown))


def parse(markdown: str) -> tuple[dict[str, Any], str]:
    """
    Return the front matter of a page, and what stands behind it.

    Raises: whatever the loader and the types of what it reads do.
    """
    metadata, body = frontmatter.parse(markdown, handler=_YAML)
    return metadata, body
