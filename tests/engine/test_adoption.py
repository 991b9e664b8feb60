from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.engine.commit import Commit
from analysis.engine.manifest import Manifest
from analysis.engine.snapshot import Snapshot
from tests.engine.toy_chain import (
    Count,
    Read,
    Split,
    Sum,
    Use,
    World,
    chain_states,
    contents,
    forget,
    make,
    manifest_path,
    states,
)


def change_read(world: World, content: str) -> None:
    """Another recipe of ``Read``; its outputs change if the content does."""
    world.settings["Read"] = {"x": 1 + world.settings.get("Read", {}).get("x", 0)}
    world.contents["Read"] = content


def test_same_inputs_are_adopted_and_other_ones_run(world: World, store: Path) -> None:
    make(Sum())
    outputs = {path: content for path, content in contents(store).items() if path.endswith(".txt")}
    before = {task.get_task_family(): task.manifest() for task in (Count(branch=1), Sum())}
    change_read(world, "content")
    assert chain_states() == "sss sss s"
    assert make(Sum()) == ["Read branch 0", "Read branch 1", "Read branch 2"]
    assert chain_states() == "ccc ccc c"
    for task in (Count(branch=1), Sum()):
        adopted, old = task.manifest(), before[task.get_task_family()]
        assert [a.why for a in adopted.adopted] == ["same inputs"]
        assert adopted.adopted[0].recipe == str(old.file_name().recipe)
        assert adopted.adopted[0].who.endswith(f"@{socket.gethostname()}")
        assert (adopted.outputs, adopted.resources, adopted.provenance) == (old.outputs, old.resources, old.provenance)
        assert [
            Manifest.read(path) for path in (Path(task.folder) / "history").glob(f"{task.branch_number or 'task'}.*")
        ] == [old]
    assert {path: content for path, content in contents(store).items() if path.endswith(".txt")} == outputs
    change_read(world, "CONTENT")  # same size, other bytes
    assert len(make(Sum())) == 6  # Count makes the same of it: Sum is adopted
    assert [a.why for a in Sum().manifest().adopted] == ["same inputs", "same inputs"]
    assert Count(branch=1).manifest().adopted == ()
    change_read(world, "longer content")
    assert len(make(Sum())) == 7
    assert Sum().manifest().adopted == ()


def test_one_other_input_runs_one_branch(world: World) -> None:
    make(Sum())
    world.branches[1] = "ONE"
    forget()
    assert chain_states() == "csc csc s"
    assert make(Sum()) == ["Read branch 1", "Count branch 1"]


def test_own_change_is_never_adopted(world: World) -> None:
    make(Sum())
    change_read(world, "content")
    world.settings["Count"] = {"x": 1}
    assert len(make(Sum())) == 6
    assert [a.why for a in Sum().manifest().adopted] == ["same inputs"]


def test_damaged_output_is_not_adopted(world: World) -> None:
    make(Sum())
    change_read(world, "content")
    (Path(Count().folder) / "count_1.txt").write_text("x")
    assert make(Count())[-1] == "Count branch 1"


def test_input_without_a_record_is_not_adopted(world: World) -> None:
    make(Sum())
    path = manifest_path(Sum())
    old = Manifest.read(path)
    path.unlink()
    changed = replace(old, inputs={"Count": ""})
    (path.parent / str(changed.file_name())).write_bytes(changed.to_bytes())
    assert states(Sum()) == "c"
    change_read(world, "content")
    assert make(Sum())[-1] == "Sum"


def test_output_that_is_not_read_does_not_matter_for_adoption(world: World) -> None:
    make(Use(names="a"))
    make(Use())
    world.settings["Split"] = {"b": 1}
    assert make(Use(names="a")) == []
    assert make(Use()) == ["Split", "Use all"]
    assert states(Split(), Use(names="a"), Use()) == "c c c"


def test_killed_between_the_two_steps_of_an_adoption(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    make(Sum())
    change_read(world, "content")
    make(Read())
    with monkeypatch.context() as patch:
        patch.setattr(Commit, "withdraw", lambda _self, _keep=None: None)  # killed before it
        make(Sum())
    assert len(list((Path(Sum().folder) / "manifests").iterdir())) == 2
    assert chain_states() == "ccc ccc c"
    assert make(Sum()) == []


# what inputs consist of


def test_content_of_inputs_depends_on_bytes_of_what_is_needed_only(world: World) -> None:
    def inputs(**parameters: str) -> dict[str, str]:
        return Snapshot().inputs(Use(**parameters))

    make(Use())
    before = {names: inputs(names=names) for names in ("a", "b", "all", "none")}
    assert before["none"] == {}
    assert inputs(names="a", version="v1") == before["a"]
    world.settings["Split"] = {"a": "x"}
    make(Use())
    after = {names: inputs(names=names) for names in ("a", "b", "all")}
    assert [after[n] == before[n] for n in ("a", "b", "all")] == [False, True, False]


@pytest.mark.usefixtures("world")
def test_content_of_inputs_does_not_depend_on_the_version() -> None:
    make(Sum())
    make(Sum(version="v2"))
    assert Snapshot().inputs(Sum(version="v2")) == Snapshot().inputs(Sum())
    assert Snapshot().inputs(Sum(version="v3")) == {"Count": ""}
