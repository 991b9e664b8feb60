from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.snapshot import Snapshot
from analysis.engine.why import explain, print_why
from tests.engine.toy_chain import Count, Read, Sum, World, contents, forget, make, manifest_path, write_module

pytestmark = pytest.mark.usefixtures("world")


def why(capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    print_why(Sum())
    return capsys.readouterr().out.splitlines()


def test_current_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    make(Sum())
    assert why(capsys) == ["Sum is current."]


def test_nothing_there_yet(capsys: pytest.CaptureFixture[str]) -> None:
    assert why(capsys) == [
        "Read: 3 of 3 branches missing",
        "    not there yet",
        "Count: 3 of 3 branches missing",
        "    not there yet",
        "Sum: missing",
        "    not there yet",
    ]


def test_setting_before_and_after_comes_first(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.settings["Read"] = {"cut": 30, "old": 1}
    make(Sum())
    world.settings["Read"] = {"cut": 31, "new": [1, 2]}
    lines = why(capsys)
    assert lines[:4] == [
        "Read: 3 of 3 branches stale",
        "    setting cut: 30 -> 31",
        "    setting new: (none) -> [1,2]",
        "    setting old: 1 -> (none)",
    ]
    assert lines[-2:] == ["Sum: stale", "    requirement Count: changed"]


def test_branches_with_one_reason_are_one_group(world: World) -> None:
    world.branches = dict.fromkeys(range(12), "x")
    forget()
    make(Read())
    world.identities |= {0: "new", 5: "other"}
    for branch in range(1, 12):
        if branch != 5:
            (Path(Read().folder) / f"read_{branch}.txt").write_text("grown and grown")
    lines = list(explain(Read(), Snapshot()))
    assert lines[:2] == ["Read: 1 of 12 branches stale (0)", "    file file.root: uuid 0 -> new"]
    assert "    read_1.txt has 15 bytes, but was written with 9" in lines
    assert "Read: 1 of 12 branches stale (5)" in lines
    world.identities.clear()
    for branch in range(12):
        (Path(Read().folder) / f"read_{branch}.txt").write_text("content x")
    world.settings["Read"] = {"x": 1}
    (Path(Read().folder) / "read_11.txt").unlink()
    lines = list(explain(Read(), Snapshot()))
    assert lines == [
        "Read: 11 of 12 branches stale (0, 1, 2, 3, 4, 5, 6, 7, ...)",
        "    setting x: (none) -> 1",
        "Read: 1 of 12 branches missing (11)",
        "    read_11.txt is gone",
    ]


def test_module_that_changed_is_named(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_module(tmp_path, "mass", "A = 1\n")
    world.modules["Count"] = ("toy_physics.mass",)
    make(Sum())
    write_module(tmp_path, "mass", "A = 2\n")
    assert why(capsys)[:2] == ["Count: 3 of 3 branches stale", "    code toy_physics.mass: changed"]


def test_own_changes_are_told_before_those_of_requirements(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    make(Sum())
    world.settings |= {"Read": {"x": 1}, "Sum": {"y": 2}}
    assert why(capsys)[-3:] == ["Sum: stale", "    setting y: (none) -> 2", "    requirement Count: changed"]


def test_damaged_manifest_is_told(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    make(Sum())
    path = manifest_path(Sum())
    path.write_text("x" * path.stat().st_size)
    world.settings["Sum"] = {"x": 1}
    assert why(capsys) == ["Sum: stale", "    its manifest cannot be read"]
    path.write_text("")
    (state, reason) = why(capsys)
    assert state == "Sum: missing"
    assert reason.startswith(f"    manifest {path} is damaged (")


def test_why_writes_nothing(store: Path, world: World) -> None:
    print_why(Sum())
    assert not store.exists()
    make(Sum())
    world.settings["Read"] = {"x": 1}
    before = contents(store)
    print_why(Sum())
    assert contents(store) == before


def test_why_answers_where_stale_is_an_error(
    world: World, stale: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    make(Sum())
    world.settings["Count"] = {"x": 1}
    stale(default="error")
    assert why(capsys)[:2] == ["Count: 3 of 3 branches stale", "    setting x: (none) -> 1"]


def test_why_of_a_branch(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    make(Sum())
    world.settings["Count"] = {"x": 1}
    print_why(Count(branch=2))
    assert capsys.readouterr().out.splitlines() == ["Count branch 2: stale", "    setting x: (none) -> 1"]
