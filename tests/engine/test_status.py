from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.errors import ParameterError, RecipeCycleError
from analysis.engine.plan import make_plan, plan_json, plan_table
from analysis.engine.snapshot import Snapshot
from analysis.engine.status import print_plan, print_status
from tests.engine.toy_chain import Circle, Count, Read, Sum, World, contents, make

pytestmark = pytest.mark.usefixtures("world")


def status(capsys: pytest.CaptureFixture[str], depth: str = "all") -> tuple[dict[str, tuple[str, str, str]], str]:
    """What is shown of ``Sum``: current, stale and missing by task, and the last line."""
    capsys.readouterr()
    print_status(Sum(), depth)
    header, _, *lines, _, total = capsys.readouterr().out.splitlines()
    places = [header.index(word) for word in ("current", "stale", "missing")]
    rows = {}
    for line in lines:
        first, second, third = (line[a:b].strip() for a, b in zip(places, [*places[1:], None], strict=True))
        rows[line.split()[0]] = (first, second, third)
    return rows, total


def test_counts_of_each_task(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(capsys) == (
        {"Read": ("", "", "3"), "Count": ("", "", "3"), "Sum": ("", "", "1")},
        "0 current, 0 stale, 7 missing",
    )
    make(Sum())
    assert status(capsys)[1] == "7 current, 0 stale, 0 missing"
    world.identities[0] = "another uuid"
    (Path(Count().folder) / "count_2.txt").unlink()
    rows, total = status(capsys)
    assert list(rows.items()) == [("Read", ("2", "1", "")), ("Count", ("1", "1", "1")), ("Sum", ("", "1", ""))]
    assert total == "3 current, 3 stale, 1 missing"


@pytest.mark.parametrize(
    ("depth", "tasks"),
    [
        ("all", "Read Count Sum"),
        ("-1", "Read Count Sum"),
        ("0", "Sum"),
        ("1", "Count Sum"),
        ("1,0", "Count Sum"),
        ("9", "Read Count Sum"),
    ],
)
def test_depth(capsys: pytest.CaptureFixture[str], depth: str, tasks: str) -> None:
    assert list(status(capsys, depth)[0]) == tasks.split()


@pytest.mark.parametrize("depth", ["x", "", "1.5", "-"])
def test_wrong_depth(depth: str) -> None:
    with pytest.raises(ParameterError, match=rf"^--print-status {depth}: use a number of steps upstream"):
        print_status(Sum(), depth)


@pytest.mark.parametrize("policy", ["warn", "error"])
def test_status_does_not_depend_on_what_is_done_about_stale_outputs(
    world: World, stale: Callable[..., None], capsys: pytest.CaptureFixture[str], policy: str
) -> None:
    make(Sum())
    world.settings["Sum"] = {"x": 1}
    stale(default=policy)
    assert status(capsys)[1] == "6 current, 1 stale, 0 missing"


def test_status_of_a_branch(capsys: pytest.CaptureFixture[str]) -> None:
    make(Read(branch=1))
    print_status(Count(branch=1), "all")
    assert capsys.readouterr().out.endswith("\n1 current, 0 stale, 1 missing\n")


def test_questions_write_nothing(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_status(Sum(), "all")
    print_plan(Sum(), "all")
    assert not store.exists()
    make(Sum())
    before = contents(store)
    print_status(Sum(), "all")
    print_plan(Sum(), "all")
    assert contents(store) == before
    assert capsys.readouterr().out.endswith("Sum is complete: nothing would run.\n")


def test_plan_as_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_plan(Sum(), Snapshot())
    print_plan(Sum(), "json")
    assert json.loads(capsys.readouterr().out) == json.loads(plan_json(rows))
    for form in ("all", "table"):
        print_plan(Sum(), form)
        assert capsys.readouterr().out == plan_table(Sum(), rows) + "\n"


@pytest.mark.parametrize("form", ["yaml", "JSON", ""])
def test_wrong_form(form: str) -> None:
    with pytest.raises(ParameterError, match=rf"^--plan {form} does not exist: use --plan or --plan json$"):
        print_plan(Sum(), form)


def test_status_of_a_circle_is_one_sentence() -> None:
    with pytest.raises(RecipeCycleError, match="in a circle"):
        print_status(Circle(), "all")
