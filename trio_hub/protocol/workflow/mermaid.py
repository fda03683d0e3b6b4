"""A picture of a graph, as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from .conditions import Always, ContextEquals, FromSpeaker, ToolCalled, TransitionCondition
from .targets import AgentTarget, TerminateTarget, TransitionTarget

if TYPE_CHECKING:
    from .graph import TransitionGraph

__all__ = ["draw"]


def draw(graph: TransitionGraph, name_of: Callable[[str], str]) -> str:
    """Return the text of a flowchart: agents as boxes, transitions as arrows with conditions."""
    picture = _Picture(name_of)
    begin = picture.node("begin", "begin", shape=("([", "])"))
    picture.arrow(begin, picture.agent(graph.initial_speaker), "")
    anybody = ""
    for transition in graph.by_priority:
        when = transition.when
        if isinstance(when, FromSpeaker):
            source, label = picture.agent(when.agent_id), ""
        else:
            anybody = anybody or picture.node("anybody", "any turn", shape=("{{", "}}"))
            source, label = anybody, _condition(when)
        picture.arrow(source, picture.target(transition.then), label)
    anybody = anybody or picture.node("anybody", "any turn", shape=("{{", "}}"))
    picture.arrow(anybody, picture.target(graph.default_target), "otherwise")
    if graph.max_turns is not None:
        picture.arrow(anybody, picture.end(), f"after {graph.max_turns} turns")
    return picture.text()


class _Picture:
    def __init__(self, name_of: Callable[[str], str]) -> None:
        self._name_of = name_of
        self._nodes: dict[str, str] = {}
        self._lines: list[str] = []

    def node(self, key: str, label: str, shape: tuple[str, str] = ("[", "]")) -> str:
        if key not in self._nodes:
            # Ids of our own: a name may hold anything.
            self._nodes[key] = f"n{len(self._nodes)}"
            self._lines.append(f'  {self._nodes[key]}{shape[0]}"{_quoted(label)}"{shape[1]}')
        return self._nodes[key]

    def agent(self, agent_id: str) -> str:
        return self.node(f"agent {agent_id}", self._name_of(agent_id))

    def end(self, reason: str = "max_turns") -> str:
        return self.node(f"end {reason}", f"end: {reason}", shape=("([", "])"))

    def target(self, target: TransitionTarget) -> str:
        if isinstance(target, AgentTarget):
            return self.agent(target.agent_id)
        if isinstance(target, TerminateTarget):
            return self.end(target.reason)
        return self.node(f"target {target}", target.name.replace("_", " "), shape=("([", "])"))

    def arrow(self, source: str, target: str, label: str) -> None:
        between = f'-- "{_quoted(label)}" -->' if label else "-->"
        self._lines.append(f"  {source} {between} {target}")

    def text(self) -> str:
        return "\n".join(["flowchart TD", *self._lines]) + "\n"


def _condition(when: TransitionCondition) -> str:
    match when:
        case Always():
            return ""
        case ToolCalled(tool_name):
            return f"{tool_name} called"
        case ContextEquals(key, value):
            return f"{key} = {value!r}"
    arguments = attrs.asdict(when) if attrs.has(type(when)) else {}  # type: ignore[arg-type]
    return f"{when.name} {arguments or ''}".strip()


def _quoted(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("\n", " ")
