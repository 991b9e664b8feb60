from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.errors import ManifestError, RecipeCycleError
from analysis.engine.plan import PlanRow, in_order_of_data, make_plan, plan_json, plan_table, show_size, show_time, walk
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage.local import LocalStore
from analysis.engine.task import AnalysisTask
from tests.engine.toy_chain import (
    Circle,
    Count,
    Read,
    Split,
    Sum,
    Use,
    World,
    contents,
    forget,
    make,
    manifest_path,
    set_cpu,
)

pytestmark = pytest.mark.usefixtures("world")


def plan(root: AnalysisTask) -> dict[str, PlanRow]:
    return {row.task: row for row in make_plan(root, Snapshot())}


def numbers(row: PlanRow) -> tuple[int, int, int, int]:
    return row.branches, row.missing, row.changed, row.affected


def test_nothing_done_is_all_missing_in_the_order_of_the_data(store: Path) -> None:
    rows = make_plan(Sum(), Snapshot())
    assert [(row.task, numbers(row), row.reason) for row in rows] == [
        ("Read", (3, 3, 0, 0), "not there yet"),
        ("Count", (3, 3, 0, 0), "not there yet"),
        ("Sum", (1, 1, 0, 0), "not there yet"),
    ]
    assert [(row.cpu_seconds, row.bytes, row.redone_cpu_seconds) for row in rows] == [(None, None, 0)] * 3
    assert not store.exists()


def test_all_done_is_no_row() -> None:
    make(Sum())
    assert make_plan(Sum(), Snapshot()) == []


def test_causes_and_consequences_are_counted_apart(world: World) -> None:
    make(Sum())
    world.identities[1] = "another uuid"
    (Path(Read().folder) / "read_2.txt").unlink()
    (Path(Count().folder) / "count_2.txt").unlink()
    rows = plan(Sum())
    assert {title: numbers(row) for title, row in rows.items()} == {
        "Read": (3, 1, 1, 0),
        "Count": (3, 1, 0, 1),
        "Sum": (1, 0, 0, 1),
    }
    assert [row.reason for row in rows.values()] == [
        "outputs gone, changed or new; file file.root",
        "outputs gone, changed or new; its inputs may change",
        "its inputs may change",
    ]


def test_reason_names_two_changes(world: World) -> None:
    make(Read())
    world.settings["Read"] = dict.fromkeys("abcd", 1)
    assert plan(Read())["Read"].reason == "setting a, setting b and 2 more"


def test_reason_without_a_readable_manifest(world: World) -> None:
    make(Sum())
    path = manifest_path(Sum())
    path.write_text("x" * path.stat().st_size)
    world.settings["Sum"] = {"a": 1}
    assert plan(Sum())["Sum"].reason == "Sum changed"


def test_complete_tasks_are_not_looked_above() -> None:
    make(Sum())
    (Path(Read().folder) / "read_1.txt").unlink()
    assert plan(Sum()) == {}
    assert [task.title() for task, _ in walk(Sum(), Snapshot())] == ["Sum"]
    everything = list(walk(Sum(), Snapshot(), everything=True))
    assert [(task.title(), depth) for task, depth in everything] == [("Sum", 0), ("Count", 1), ("Read", 2)]


def test_estimates_are_means_of_earlier_runs(world: World) -> None:
    make(Sum())
    for branch, seconds in enumerate((1.0, 2.0, 6.0)):
        set_cpu(Read(branch=branch), seconds)
    world.branches |= {3: "three", 4: "four"}
    forget()
    row = plan(Sum())["Read"]
    assert numbers(row) == (5, 2, 0, 0)
    assert row.cpu_seconds == pytest.approx(2 * 3.0)
    sizes = [path.stat().st_size for path in sorted(Path(Read().folder).glob("*.txt"))]
    assert row.bytes == int(2 * sum(sizes) / 3)
    assert row.redone_cpu_seconds == 0
    world.settings["Read"] = {"x": 1}
    row = plan(Sum())["Read"]
    assert numbers(row) == (5, 2, 3, 0)
    assert row.cpu_seconds == pytest.approx(5 * 3.0)
    assert row.redone_cpu_seconds == pytest.approx(3 * 3.0)


def test_only_a_few_manifests_are_opened(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.branches = dict.fromkeys(range(50), "x")
    make(Read())
    world.settings["Read"] = {"x": 1}
    opened: list[Path] = []
    read = LocalStore.read

    def count(self: LocalStore, path: Path) -> bytes:
        opened.append(path)
        return read(self, path)

    monkeypatch.setattr(LocalStore, "read", count)
    assert numbers(plan(Read())["Read"]) == (50, 0, 50, 0)
    assert len(opened) <= 5


def test_plan_of_one_branch() -> None:
    make(Read())
    rows = plan(Count(branch=1))
    assert {title: numbers(row) for title, row in rows.items()} == {"Count branch 1": (1, 1, 0, 0)}


def test_plan_says_what_the_run_does(world: World, store: Path) -> None:
    make(Sum())
    world.settings["Count"] = {"x": 1}
    world.contents["Count"] = "other"
    before = contents(store)
    rows = plan(Sum())
    assert contents(store) == before
    assert len(make(Sum())) == sum(row.missing + row.changed + row.affected for row in rows.values())


def test_stale_outputs_that_are_used_are_not_planned(world: World, stale: Callable[..., None]) -> None:
    make(Sum())
    world.settings["Read"] = {"x": 1}
    stale(Read="warn")
    assert set(plan(Sum())) == {"Count", "Sum"}


def test_newer_manifest_stops_the_plan() -> None:
    make(Read())
    path = manifest_path(Read(branch=1))
    path.rename(path.with_name(path.name.replace(".v2.", ".v3.")))
    with pytest.raises(ManifestError, match="newer version"):
        plan(Sum())


def test_order_of_data_whatever_the_order_given() -> None:
    tasks = [Sum(), Use(), Read(), Count(), Split()]
    for _ in range(len(tasks)):
        tasks.append(tasks.pop(0))
        found = in_order_of_data(tasks)
        assert set(found) == set(tasks)
        places = {task.get_task_family(): place for place, task in enumerate(found)}
        assert places["Read"] < places["Count"] < places["Sum"]
        assert places["Split"] < places["Use"]


def test_plan_of_a_circle_is_one_sentence() -> None:
    with pytest.raises(RecipeCycleError, match="in a circle"):
        plan(Circle())


ROW = PlanRow("Read", 10, 2, 3, 4, "local", "none", "setting x", 5400.0, 2_500_000, 4000.0)
UNKNOWN = PlanRow("Sum", 1, 1, 0, 0, "local", "none", "not there yet", None, None, 0.0)


def test_json_has_all_numbers() -> None:
    first, second = json.loads(plan_json([ROW, UNKNOWN]))
    assert PlanRow(**first) == ROW
    assert PlanRow(**second) == UNKNOWN
    assert json.loads(plan_json([])) == []


def test_table_has_the_same_numbers(world: World) -> None:
    make(Sum())
    world.identities[1] = "another uuid"
    rows = make_plan(Sum(), Snapshot())
    lines = plan_table(Sum(), rows).splitlines()
    header = lines[0]
    for row, line in zip(json.loads(plan_json(rows)), lines[2:], strict=False):
        cells = {
            name: line[header.index(name) :].split("  ")[0].strip() for name in ("run", "if inputs change", "of", "why")
        }
        assert line.startswith(row["task"])
        assert cells == {
            "run": str(row["missing"] + row["changed"] or ""),
            "if inputs change": str(row["affected"] or ""),
            "of": str(row["branches"]),
            "why": row["reason"],
        }
    assert lines[-1].startswith("1 to run, 2 more if their inputs change; CPU time 0.0 s")


def test_table_shows_costs_and_what_is_unknown() -> None:
    text = plan_table(Sum(), [ROW, UNKNOWN])
    row, unknown = text.splitlines()[2:4]
    assert "1.5 h" in row
    assert "2.5 MB" in row
    assert unknown.count("?") == 2
    assert text.endswith(
        "6 to run, 4 more if their inputs change; CPU time 1.5 h (nothing is known of some tasks: they never ran)"
    )
    assert plan_table(Sum(), [UNKNOWN]).endswith("1 to run; CPU time unknown")
    assert plan_table(Sum(), []) == "Sum is complete: nothing would run."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "?"),
        (0, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1.0 min"),
        (3599, "60.0 min"),
        (3600, "1.0 h"),
        (9000, "2.5 h"),
    ],
)
def test_time_for_people(seconds: float | None, text: str) -> None:
    assert show_time(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "?"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (12_345_678, "12.3 MB"),
        (5e9, "5 GB"),
        (2e15, "2e+03 TB"),
    ],
)
def test_size_for_people(size: int | None, text: str) -> None:
    assert show_size(size) == text


# where outputs live


def columns(text: str) -> list[str]:
    return text.splitlines()[0].split()


@pytest.mark.parametrize(("name", "qos", "cell"), [("wlcg_fs", "CHEAP", "wlcg_fs (CHEAP)"), ("disk_b", "", "disk_b")])
def test_plan_and_manifest_say_where_outputs_live(
    name: str, qos: str, cell: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Snapshot().recipes.digest(Count(branch=0))
    assert {(row["store"], row["qos"]) for row in json.loads(plan_json(make_plan(Sum(), Snapshot())))} == {
        ("local", "")
    }
    assert "store" not in columns(plan_table(Sum(), make_plan(Sum(), Snapshot())))

    places: dict[str, LocalStore] = {"Count": LocalStore(store / "b", name, qos)}
    monkeypatch.setattr("analysis.engine.placed.store_for", lambda family: places.get(family, LocalStore(store)))
    forget()
    rows = make_plan(Sum(), Snapshot())
    found = {row["task"]: (row["store"], row["qos"]) for row in json.loads(plan_json(rows))}
    assert found == {"Read": ("local", ""), "Count": (name, qos), "Sum": ("local", "")}
    text = plan_table(Sum(), rows)
    at = text.splitlines()[0].index("store")
    cells = {line.split()[0]: re.split("  +", line[at:])[0] for line in text.splitlines()[2:5]}
    assert cells == {"Read": "local", "Count": cell, "Sum": "local"}

    make(Sum())
    manifest = Count(branch=0).manifest()
    assert manifest.provenance["store"] == {"name": name, "kind": "local", "qos": qos}
    assert Read(branch=0).manifest().provenance["store"] == {"name": "local", "kind": "local", "qos": ""}
    assert Snapshot().recipes.digest(Count(branch=0)) == before  # it is no part of the recipe
    assert str(store) not in json.dumps(dict(manifest.provenance))
