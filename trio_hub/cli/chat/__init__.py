"""``chat``: a person talks with an agent, line by line."""

from __future__ import annotations

from .command import CHAT as CHAT

__all__ = ["CHAT"]
