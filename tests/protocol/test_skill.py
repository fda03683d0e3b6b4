"""Skill pages: what their front matter says, and that nothing in them does harm."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from trio_hub.protocol.front_matter import FRONT_MATTER_CHARACTERS_MAX
from trio_hub.protocol.skill import Skill, read_skill

PAGE = """\
---
name: tenancy-law
description: >
  What landlords may do,
  and what not.
since: 2024-05-01
tags: [law, Berlin]
limits: {cases: 3, rate: 0.5, secret: no}
1: one
---

# Tenancy

---

Ask.
"""


def test_front_matter_is_json_data_and_the_rest_is_the_body() -> None:
    skill = read_skill(PAGE)
    assert skill == Skill(
        markdown=PAGE,
        body="# Tenancy\n\n---\n\nAsk.",
        metadata={
            "name": "tenancy-law",
            "description": "What landlords may do, and what not.\n",
            "since": "2024-05-01",
            "tags": ["law", "Berlin"],
            "limits": {"cases": 3, "rate": 0.5, "secret": False},
            "1": "one",
        },
    )
    assert (skill.name, skill.problem) == ("tenancy-law", None)
    assert skill.description.startswith("What landlords may do")


@pytest.mark.parametrize(
    "page", ["", "# Only words", "Words first\n\n---\nname: x\n---\n", "---\nname: x\nno end"]
)
def test_a_page_without_front_matter_is_all_body(page: str) -> None:
    assert read_skill(page) == Skill(markdown=page, body=page)


@pytest.mark.parametrize("page", ["---\n---\nbody", "---\n# nothing\n---\n\nbody\n"])
def test_front_matter_may_be_empty(page: str) -> None:
    skill = read_skill(page)
    assert (skill.body, skill.metadata, skill.problem) == ("body", {}, None)


def test_a_name_that_is_no_text_is_no_name() -> None:
    skill = read_skill("---\nname: [a]\ndescription: 7\n---\n")
    assert (skill.name, skill.description) == ("", "")


_LAUGHS = "a: &a [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("front_matter", "problem"),
    [
        ("name: [unclosed", "ParserError"),
        ("- a\n- list", "a mapping, not a list"),
        ("just words", "a mapping, not a str"),
        ("on: 2024-99-99", "month"),
        ("a: !!python/object/apply:os.system ['true']", "ConstructorError"),
        ("a: !!binary aGk=", "holds a bytes"),
        ("a: !!set {x, y}", "holds a set"),
        ("? [a, b]\n: c", "Error"),
        ("a: &a [*a]", "nested deeper"),
        (_LAUGHS, "amounts to too much"),
        ("a: " + "[" * 900 + "]" * 900, "nested deeper"),
        ("a: " + "[" * 8_000, "Error"),
        ("a:\n  " + "- " * 8_000, "Error"),
        ("a: " + "9" * 5_000, "digits"),
        ('a: "\\ud800"', "Error"),
        ("a: x" * FRONT_MATTER_CHARACTERS_MAX, "characters is more than"),
    ],
    ids=range(16),
)
def test_front_matter_that_cannot_be_read_is_a_problem_and_the_page_is_there(
    front_matter: str, problem: str
) -> None:
    page = f"---\n{front_matter}\n---\n\nbody"
    skill = read_skill(page)
    assert skill.problem is not None
    assert problem in skill.problem
    assert len(skill.problem) <= 300
    assert skill.problem.isprintable()
    assert (skill.metadata, skill.body, skill.markdown) == ({}, page, page)


def test_numbers_that_json_does_not_have_are_texts() -> None:
    skill = read_skill("---\na: .inf\nb: .nan\nc: 99999999999999999999\nd: -5\ne: ~\n---\n")
    wanted = {"a": "inf", "b": "nan", "c": "99999999999999999999", "d": -5, "e": None}
    assert skill.metadata == wanted


_YAML = st.text("ab:-[]{}#&*!|>'\"?, \n\t0:.~=", max_size=80)


@given(st.text() | _YAML.map(lambda it: f"---\n{it}\n---\n") | _YAML.map(lambda it: f"---\n{it}"))
def test_whatever_the_page_is_there_is_a_skill_of_plain_data(page: str) -> None:
    skill = read_skill(page)
    assert skill.markdown == page
    assert json.loads(json.dumps(skill.metadata, allow_nan=False)) == skill.metadata
    assert skill.problem is None or not skill.metadata
