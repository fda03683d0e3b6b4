"""
Finding whom to ask: pure functions of what is known of agents.

The hub uses it over all that are registered, and a client over what a hub lists that has no such
operation. Answers are bounded: a page holds so many peers, and each says so much.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any, Final, Protocol, get_args

import attrs

from ..errors import ProtocolError
from ..records import Passport, PassportKind, PeerOrder, PeerPage, PeerSummary, Resume, Rule
from .globs import compile_globs
from .latency_sketch import LatencySketch
from .track_record import sum_up

__all__ = [
    "PEERS_LIMIT_DEFAULT",
    "PEERS_MAX",
    "SUMMARY_CHARACTERS_MAX",
    "WORDS_MAX",
    "WORD_CHARACTERS_MAX",
    "Described",
    "PeerQuery",
    "capabilities_of",
    "find",
    "first_of",
    "may_ask",
    "page_of",
    "text_of",
]

#: Peers in one page, where nobody says how many: as many as a model can choose among.
PEERS_LIMIT_DEFAULT: Final = 20
#: Peers in one page, however many were asked for: each may say several kilobytes.
PEERS_MAX: Final = 100
#: What a page shows of a peer's summary; `get_resume` has all of it.
SUMMARY_CHARACTERS_MAX: Final = 1_000
#: Capabilities, and domains, that a page shows of one peer; `get_resume` has all of them.
WORDS_MAX: Final = 50
#: What a page shows of each capability and domain, which are a word or two in earnest.
WORD_CHARACTERS_MAX: Final = 200

_at_least_one: Any = attrs.validators.ge(1)


def _one_of(*kinds: Any) -> Any:
    return attrs.validators.in_([it for kind in kinds for it in get_args(kind) or (kind,)])


# What an agent costs that does not say so: more than all that do.
_UNKNOWN_COST: Final = float("inf")


class Described(Protocol):
    """What is known of an agent."""

    @property
    def passport(self) -> Passport:
        """Who it is."""
        ...

    @property
    def resume(self) -> Resume:
        """What it can do."""
        ...

    def latencies_of(self, capabilities: Iterable[str]) -> list[LatencySketch]:
        """Return how long its tasks took, of those capabilities of which it is known."""
        ...


@attrs.frozen(kw_only=True)
class PeerQuery:
    """
    Whom to find: those that meet all that is given.

    Attributes:
        capability: Claimed or observed, spelled alike.
        domain: One that it names, spelled alike.
        text: Stands in the name, the summary, a domain or a capability, in upper or lower case.
        limit: At most so many, and at most `PEERS_MAX`.
        after: Only those behind it in that order: the `after` of an earlier page.
    """

    capability: str | None = None
    domain: str | None = None
    text: str | None = None
    kind: PassportKind | None = attrs.field(default=None, validator=_one_of(None, PassportKind))
    sort_by: PeerOrder = attrs.field(default="name", validator=_one_of(PeerOrder))
    limit: int = attrs.field(default=PEERS_LIMIT_DEFAULT, validator=_at_least_one)
    after: str | None = None


def find(agents: Iterable[Described], query: PeerQuery) -> PeerPage:
    """
    Return a page of those that meet a query.

    Raises:
        ProtocolError: `after` is not of an earlier page.
    """
    return page_of(first_of(agents, query), query)


def first_of(agents: Iterable[Described], query: PeerQuery) -> list[Described]:
    """
    Return those who meet a query and may stand on its page, in order.

    Of many agents it may be asked piece by piece: those of all pieces are what `page_of` needs.

    Raises:
        ProtocolError: `after` is not of an earlier page.
    """
    behind = None if query.after is None else _position(query.after)
    ranked = ((_key(it, query), it) for it in agents if _meets(it, query))
    ahead = (one for one in ranked if behind is None or one[0] > behind)
    # One more than there is room for, to know whether there is another page.
    return [it for _, it in nsmallest(_limit(query) + 1, ahead, key=lambda one: one[0])]


def page_of(first: Iterable[Described], query: PeerQuery) -> PeerPage:
    """Put those together to a page that `first_of` returned."""
    limit = _limit(query)
    in_order = sorted(first, key=lambda it: _key(it, query))
    shown = in_order[:limit]
    after = _cursor(_key(shown[-1], query)) if len(in_order) > limit else None
    return PeerPage(peers=tuple(_peer(it, query) for it in shown), after=after)


def may_ask(asker: Passport, asker_rule: Rule, peer: Passport, peer_rule: Rule) -> bool:
    """Whether the rules of two let the one speak to the other, and it is not the same one."""
    return (
        asker.agent_id != peer.agent_id
        and compile_globs(asker_rule.access.outbound_to)(peer.name)
        and compile_globs(peer_rule.access.inbound_from)(asker.name)
    )


def capabilities_of(resume: Resume) -> list[str]:
    """Return what is claimed, then what was only observed; each once."""
    return list(dict.fromkeys((*resume.claimed_capabilities, *resume.observed)))


def text_of(passport: Passport, resume: Resume) -> str:
    """Return everything in which a text is looked for, in the form that it is compared in."""
    said = (passport.name, resume.summary, *resume.domains, *capabilities_of(resume))
    return "\n".join(said).casefold()


def _limit(query: PeerQuery) -> int:
    return min(query.limit, PEERS_MAX)


def _meets(it: Described, query: PeerQuery) -> bool:
    resume = it.resume
    return (
        (query.kind is None or it.passport.effective_kind == query.kind)
        and (query.domain is None or query.domain in resume.domains)
        and (
            query.capability is None
            or query.capability in resume.claimed_capabilities
            or query.capability in resume.observed
        )
        and (not query.text or query.text.casefold() in text_of(it.passport, resume))
    )


# Where somebody stands: by what is asked for, and among equals by name, which no two share.
_Key = tuple[float, str]


def _key(it: Described, query: PeerQuery) -> _Key:
    match query.sort_by:
        case "name":
            rank = 0.0
        case "cost":
            cost = it.passport.cost
            known = None if cost is None else cost.input_per_mtok
            rank = _UNKNOWN_COST if known is None else known
        case _:
            stats = [it.resume.observed[name] for name in _asked_for(it.resume, query)]
            # As if each had done one more well and one badly, so that a single success is worth
            # less than ninety of a hundred, and a stranger stands in the middle.
            completed, n = sum(s.completed for s in stats), sum(s.n for s in stats)
            rank = -(completed + 1) / (n + 2)
    return rank, it.passport.name


def _cursor(key: _Key) -> str:
    return f"{key[0]!r} {key[1]}"


def _position(after: str) -> _Key:
    rank, space, name = after.partition(" ")
    try:
        if space:
            return float(rank), name
    except ValueError:
        pass
    raise ProtocolError(
        f"{after[:60]!r} is no place to go on from: give the `after` of an earlier page"
    )


def _asked_for(resume: Resume, query: PeerQuery) -> list[str]:
    wanted = resume.observed if query.capability is None else (query.capability,)
    return [it for it in wanted if it in resume.observed]


def _peer(it: Described, query: PeerQuery) -> PeerSummary:
    passport, resume = it.passport, it.resume
    asked_for = _asked_for(resume, query)
    return PeerSummary(
        name=passport.name,
        agent_id=passport.stamped_id,
        kind=passport.effective_kind,
        summary=_cut(resume.summary, SUMMARY_CHARACTERS_MAX),
        capabilities=_cut_words(capabilities_of(resume)),
        domains=_cut_words(resume.domains),
        cost=passport.cost,
        track_record=sum_up(
            [resume.observed[name] for name in asked_for],
            it.latencies_of(asked_for),
        ),
    )


def _cut(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"


def _cut_words(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(_cut(it, WORD_CHARACTERS_MAX) for it in words[:WORDS_MAX])
