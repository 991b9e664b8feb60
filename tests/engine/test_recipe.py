from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.recipe import HALF, Change, Digest, Recipe, canonical, changes, digest_of, hash_text, shared_digest

REPOSITORY = Path(__file__).resolve().parents[2]

RECIPE = Recipe(
    task="Select",
    parameters={"dataset": "ttbar"},
    code={"physics": "12", "tasks:run": "34"},
    settings={"Cut pt.value": 30, "Cut pt.label": ["a", "b"]},
    sandbox={"numpy": "2.0"},
    branch=[0, 500],
    external={"a.root": "uuid"},
    requirements={"Read branch 0": "abcd"},
)

# what belongs to the task itself changes the own half only, what it requires the other one only
OWN: dict[str, Any] = {
    "task": "Selected",
    "parameters": {"dataset": "qcd"},
    "code": {"physics": "13", "tasks:run": "34"},
    "settings": {"Cut pt.value": 31, "Cut pt.label": ["a", "b"]},
    "sandbox": {"numpy": "2.1"},
    "branch": [0, 501],
    "external": {"a.root": "other uuid"},
    "version": 2,
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@dataclass(frozen=True)
class Cut:
    name: str
    values: tuple[int, ...]


@pytest.mark.parametrize(
    ("value", "same", "text"),
    [
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}, '{"a":2,"b":1}'),
        ((1, (2, 3)), [1, [2, 3]], "[1,[2,3]]"),
        ({3, 1, 2}, frozenset({2, 1, 3}), "[1,2,3]"),
        ({"x", 1}, [1, "x"], None),
        ({(2, 1), (1, 2)}, [(1, 2), (2, 1)], "[[1,2],[2,1]]"),
        ({1: "a"}, {"1": "a"}, '{"1":"a"}'),
        (PurePosixPath("a/b"), "a/b", '"a/b"'),
        (Cut("pt", (1, 2)), {"name": "pt", "values": [1, 2]}, '{"name":"pt","values":[1,2]}'),
        ("é", "\u00e9", '"\\u00e9"'),
        (None, None, "null"),
    ],
)
def test_equal_values_have_one_text(value: Any, same: Any, text: str | None) -> None:
    if isinstance(value, set) and "x" in value:
        same = sorted(same, key=canonical)
    assert canonical(value) == canonical(same)
    assert text is None or canonical(value) == text


@pytest.mark.parametrize(
    ("one", "other"), [(1, "1"), (True, "true"), (None, "null"), ([1, 2], [2, 1]), ([1], 1), ({}, []), (1, 1.5)]
)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize("value", [object(), {"a": [object()]}, Cut, len])
def test_what_json_does_not_know_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="cannot be part of a recipe: use text, numbers, lists, mappings"):
        canonical(value)


@given(JSON)
def test_text_is_json_of_the_value(value: Any) -> None:
    assert json.loads(canonical(value)) == value
    assert canonical(json.loads(canonical(value))) == canonical(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2), st.randoms())
def test_order_of_keys_does_not_matter(value: dict[str, int], random: Any) -> None:
    keys = list(value)
    random.shuffle(keys)
    assert canonical({key: value[key] for key in keys}) == canonical(value)


@given(st.sets(st.text() | st.integers()), st.randoms())
def test_order_of_sets_does_not_matter(value: set[Any], random: Any) -> None:
    items = list(value)
    random.shuffle(items)
    assert canonical(set(items)) == canonical(value)


def test_every_field_is_in_one_half() -> None:
    before = digest_of(RECIPE)
    for name, value in OWN.items():
        after = digest_of(replace(RECIPE, **{name: value}))
        assert after.own != before.own, name
        assert after.upstream == before.upstream, name
    after = digest_of(replace(RECIPE, requirements={"Read branch 0": "abce"}))
    assert (after.own, after.upstream != before.upstream) == (before.own, True)
    assert {*OWN, "requirements"} == {field.name for field in fields(Recipe)}


def test_what_branches_share_does_not_depend_on_the_branch() -> None:
    other = replace(RECIPE, branch=[500, 1000], external={}, requirements={})
    assert shared_digest(other) == shared_digest(RECIPE)
    assert digest_of(other).own != digest_of(RECIPE).own
    assert digest_of(RECIPE, shared_digest(RECIPE)) == digest_of(RECIPE)


@given(st.text(), JSON, st.dictionaries(st.text(), st.text(), max_size=3))
def test_digest_is_hexadecimal_and_survives_json(task: str, branch: Any, requirements: dict[str, str]) -> None:
    recipe = Recipe(task, branch=branch, requirements=requirements)
    digest = digest_of(recipe)
    assert [len(half) for half in digest] == [HALF, HALF]
    assert int(str(digest), 16) >= 0
    assert digest_of(Recipe.from_json(json.loads(json.dumps(recipe.to_json())))) == digest


def test_digest_is_the_same_as_ever() -> None:
    # a new digest makes every output of every user stale: raise VERSION instead, and write the new one here
    assert digest_of(RECIPE) == Digest("94a7252159", "6f6f5d48c3")
    assert hash_text("abc", 8) == "508c5e8c"  # blake2s of "abc", RFC 7693


def test_digest_does_not_depend_on_the_seed_of_hashes() -> None:
    program = (
        "from analysis.engine.recipe import Recipe, digest_of\n"
        "names = {'a', 'b', 'c', 'd', 'e'}\n"
        "print(digest_of(Recipe('T', {n: n for n in names}, settings={'s': names, 'f': frozenset(names)})))\n"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2", "3")
    }
    assert len(seen) == 1


def test_no_change() -> None:
    assert changes(RECIPE, Recipe.from_json(json.loads(json.dumps(RECIPE.to_json())))) == []


@pytest.mark.parametrize(
    ("name", "value", "change", "words"),
    [
        ("task", "B", Change("task", "name", "Select", "B"), "task name: Select -> B"),
        ("parameters", {}, Change("parameter", "dataset", "ttbar", None), "parameter dataset: ttbar -> (none)"),
        ("code", {"tasks:run": "34"}, Change("code", "physics", "12", None), "code physics: gone"),
        ("code", {**RECIPE.code, "new": "1"}, Change("code", "new", None, "1"), "code new: new"),
        ("code", {**RECIPE.code, "physics": "9"}, Change("code", "physics", "12", "9"), "code physics: changed"),
        (
            "settings",
            {**RECIPE.settings, "Cut pt.value": 31},
            Change("setting", "Cut pt.value", 30, 31),
            "setting Cut pt.value: 30 -> 31",
        ),
        ("sandbox", {"numpy": "2.1"}, Change("package", "numpy", "2.0", "2.1"), "package numpy: 2.0 -> 2.1"),
        ("branch", [0, 9], Change("branch", "content", [0, 500], [0, 9]), "branch content: [0,500] -> [0,9]"),
        ("external", {"a.root": "b"}, Change("file", "a.root", "uuid", "b"), "file a.root: uuid -> b"),
        (
            "requirements",
            {"Read branch 0": "x"},
            Change("requirement", "Read branch 0", "abcd", "x"),
            "requirement Read branch 0: changed",
        ),
        ("version", 2, Change("engine", "version", 1, 2), "engine version: 1 -> 2"),
    ],
)
def test_change_says_what_where_before_and_after(name: str, value: Any, change: Change, words: str) -> None:
    assert changes(RECIPE, replace(RECIPE, **{name: value})) == [change]
    assert str(change) == words


def test_long_values_are_cut() -> None:
    assert str(Change("setting", "x", "a" * 100, 1)) == f"setting x: {'a' * 57}... -> 1"


def test_tuples_of_the_recipe_are_lists_of_the_manifest() -> None:
    assert changes(replace(RECIPE, branch=(0, 500)), RECIPE) == []


@given(JSON, JSON)
def test_changes_are_told_exactly_when_the_digest_differs(one: Any, other: Any) -> None:
    before, after = Recipe("T", branch=one), Recipe("T", branch=other)
    assert bool(changes(before, after)) == (digest_of(before) != digest_of(after))
