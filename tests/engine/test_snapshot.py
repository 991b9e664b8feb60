from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.errors import ManifestError
from analysis.engine.manifest import SCHEMA
from analysis.engine.snapshot import Snapshot, State
from analysis.engine.storage.local import LocalStore
from tests.engine.toy_chain import Count, Read, Sum, World, chain_states, contents, forget, make, manifest_path, states

pytestmark = pytest.mark.usefixtures("world")


Damage = Callable[[], None]


def truncate_output() -> None:
    path = Path(Count().folder) / "count_1.txt"
    path.write_text(path.read_text()[:-1])


def grow_output() -> None:
    path = Path(Count().folder) / "count_1.txt"
    path.write_text(path.read_text() + "x")


def remove_output() -> None:
    (Path(Count().folder) / "count_1.txt").unlink()


def output_is_folder() -> None:
    remove_output()
    (Path(Count().folder) / "count_1.txt").mkdir()


def remove_manifest() -> None:
    manifest_path(Count(branch=1)).unlink()


def empty_manifest() -> None:
    manifest_path(Count(branch=1)).write_text("")


def truncate_manifest() -> None:
    path = manifest_path(Count(branch=1))
    path.write_bytes(path.read_bytes()[:-10])


@pytest.mark.parametrize(
    "damage",
    [
        truncate_output,
        grow_output,
        remove_output,
        remove_manifest,
        empty_manifest,
        truncate_manifest,
    ],
)
def test_damage_makes_one_branch_missing_and_only_that_runs(damage: Damage) -> None:
    make(Sum())
    damage()
    assert chain_states() == "ccc cmc c"
    assert make(Count()) == ["Count branch 1"]
    assert chain_states() == "ccc ccc c"


def test_output_that_became_a_folder_is_missing() -> None:
    make(Sum())
    output_is_folder()
    assert chain_states() == "ccc cmc c"


def test_damaged_manifest_of_the_right_size_stops_who_reads_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    make(Sum())
    path = manifest_path(Count(branch=1))
    path.write_text("x" * path.stat().st_size)
    assert chain_states() == "ccc ccc c"
    world.settings["Sum"] = {"x": 1}
    with pytest.raises(
        ManifestError, match=r"1\..*\.json is damaged .*: remove it, and the task .* runs again"
    ) as error:
        make(Sum())
    assert "\n" not in str(error.value)
    caplog.clear()
    snapshot = Snapshot()
    assert [snapshot.manifest(Count(branch=1)) for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    path.unlink()
    assert make(Sum()) == ["Count branch 1", "Sum"]


@pytest.mark.parametrize("name", ["notes.txt", "0.json", "0.1234.json", "1.zzzzzzzzzz.0123456789.01234567.v2.json"])
def test_foreign_file_is_ignored_and_told_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    make(Sum())
    (Path(Count().folder) / "manifests" / name).write_text("foreign")
    (Path(Count().folder) / "manifests" / ".hidden").write_text("is nobody's business")
    caplog.clear()
    assert chain_states() == "ccc ccc c"
    assert [record.getMessage() for record in caplog.records] == [
        f"{Path(Count().folder) / 'manifests'} has a file that is no manifest, and is ignored: {name}"
    ]
    assert make(Sum()) == []


def test_many_foreign_files_are_one_sentence(caplog: pytest.LogCaptureFixture) -> None:
    make(Read())
    caplog.clear()
    for number in range(5):
        (Path(Read().folder) / "manifests" / f"{number}.txt").touch()
    states(Read())
    assert [r.getMessage().endswith(" and 4 more") for r in caplog.records] == [True]


def test_foreign_file_among_the_outputs_does_not_matter() -> None:
    make(Read())
    (Path(Read().folder) / "notes.txt").write_text("mine")
    assert states(Read()) == "ccc"


def test_newer_manifest_stops_with_one_sentence() -> None:
    make(Sum())
    path = manifest_path(Count(branch=1))
    path.rename(path.with_name(path.name.replace(f".v{SCHEMA}.", f".v{SCHEMA + 1}.")))
    with pytest.raises(ManifestError, match=rf"newer version of this project \(schema {SCHEMA + 1}") as error:
        chain_states()
    assert "\n" not in str(error.value)
    with pytest.raises(ManifestError, match="update, or choose another --version"):
        make(Count())
    assert make(Sum(version="v2"))[0] == "Read branch 0"


def test_older_manifest_counts_by_what_it_says() -> None:
    make(Read())
    path = manifest_path(Read(branch=1))
    path.rename(path.with_name(path.name.replace(f".v{SCHEMA}.", f".v{SCHEMA - 1}.")))
    assert states(Read()) == "ccc"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_manifests_the_current_one_counts(world: World, caplog: pytest.LogCaptureFixture, order: int) -> None:
    make(Read())
    old = manifest_path(Read(branch=1))
    saved = old.name, old.read_bytes()
    world.settings["Read"] = {"x": order}
    assert make(Read()) == [f"Read branch {b}" for b in range(3)]
    (old.parent / saved[0]).write_bytes(saved[1])
    caplog.clear()
    assert states(Read()) == "ccc"
    assert [r.getMessage() for r in caplog.records] == [
        f"Read branch 1 has 2 manifests: the one of recipe {Snapshot().recipes.digest(Read(branch=1))} is used"
    ]
    world.settings.clear()  # now the other one is current
    assert states(Read()) == "scs"
    world.settings["Read"] = {"x": 7}
    assert states(Read()) == "sss"
    assert make(Read()) == [f"Read branch {b}" for b in range(3)]
    assert len(Snapshot().names(Read(branch=1))) == 1


def test_manifest_of_other_outputs_does_not_count(world: World) -> None:
    make(Read())
    old = manifest_path(Read(branch=1))
    name, content = old.name, old.read_bytes()
    world.contents["Read"] = "longer content"
    world.settings["Read"] = {"x": 1}
    make(Read())
    (old.parent / name).write_bytes(content)
    world.settings.clear()
    assert states(Read()) == "sss"


@pytest.mark.parametrize("when", [0, 4_000_000_000])
def test_clock_does_not_matter(store: Path, when: int) -> None:
    make(Sum())
    for number, path in enumerate(sorted(store.rglob("*"))):
        os.utime(path, (when + number, when - number * 86400 if when else number))
    before = contents(store)
    assert chain_states() == "ccc ccc c"
    assert make(Sum()) == []
    assert contents(store) == before


@pytest.mark.parametrize("how", ["move", "copy"])
def test_store_at_another_path_stays_current(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    make(Sum())
    other = tmp_path / "another" / "place"
    if how == "move":
        other.parent.mkdir()
        shutil.move(store, other)
    else:
        shutil.copytree(store, other)
    assert chain_states() == ("mmm mmm m" if how == "move" else "ccc ccc c")
    monkeypatch.setenv("ANALYSIS_STORE", str(other))
    forget()
    assert chain_states() == "ccc ccc c"
    assert make(Sum()) == []
    assert str(store) not in manifest_path(Sum()).read_text()


# files from outside


def test_file_out_of_reach_is_what_it_was(world: World, caplog: pytest.LogCaptureFixture) -> None:
    make(Sum())
    world.identities[1] = None
    caplog.clear()
    assert chain_states() == "ccc ccc c"
    assert [r.getMessage() for r in caplog.records] == [
        "Read branch 1: file.root cannot be found, and is taken to be what it was when it was read"
    ]
    assert make(Sum()) == []
    world.identities[1] = "another uuid"
    assert chain_states() == "csc csc s"


def test_file_out_of_reach_hides_no_other_change(world: World) -> None:
    make(Sum())
    world.identities[1] = None
    world.settings["Read"] = {"x": 1}
    assert chain_states() == "sss sss s"


def test_file_out_of_reach_without_a_record_is_missing(world: World) -> None:
    make(Sum())
    world.identities[1] = None
    (Path(Read().folder) / "read_1.txt").unlink()
    assert chain_states() == "cmc csc s"


# completeness


def test_nothing_there_is_missing_and_makes_no_folder(store: Path) -> None:
    assert chain_states() == "mmm mmm m"
    assert not store.exists()


def test_outage_is_no_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    make(Read())

    def fail(_self: LocalStore, folder: Path) -> dict[str, int]:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(LocalStore, "sizes", fail)
    with pytest.raises(PermissionError):
        states(Read())


def test_each_folder_is_listed_once_and_nothing_else_is_asked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.branches = dict.fromkeys(range(50), "x")
    make(Sum())
    asked: list[Path] = []
    sizes = LocalStore.sizes

    def count(self: LocalStore, folder: Path) -> dict[str, int]:
        asked.append(folder)
        return sizes(self, folder)

    monkeypatch.setattr(LocalStore, "sizes", count)
    for method in ("read", "names"):
        monkeypatch.setattr(LocalStore, method, None)
    monkeypatch.setattr(Path, "exists", None)
    assert chain_states() == f"{'c' * 50} {'c' * 50} c"
    folders = [Path(task.folder) for task in (Read(), Count(), Sum())]
    assert sorted(asked) == sorted([*folders, *(folder / "manifests" for folder in folders)])


def test_prefetched_folders_are_not_listed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    make(Sum())
    snapshot = Snapshot()
    snapshot.prefetch([Read(), Count(), Sum()])
    monkeypatch.setattr(LocalStore, "sizes", None)
    assert all(snapshot.is_complete(task) for task in (Read(), Count(), Sum()))


def test_snapshot_does_not_change() -> None:
    make(Sum())
    snapshot = Snapshot()
    assert snapshot.is_complete(Count())
    remove_output()
    assert snapshot.is_complete(Count())
    assert not Snapshot().is_complete(Count())


def test_changes_of_its_own_and_of_what_it_requires(world: World) -> None:
    make(Sum())
    assert not Snapshot().has_own_changes(Count(branch=0))
    world.settings["Read"] = {"x": 1}
    assert [Snapshot().has_own_changes(task) for task in (Read(branch=0), Count(branch=0), Sum())] == [
        True,
        False,
        False,
    ]
    world.settings["Sum"] = {"x": 1}
    assert Snapshot().has_own_changes(Sum())


def test_whether_there_is_a_manifest_of_a_branch() -> None:
    make(Count())
    remove_output()
    assert [Snapshot().has_names(Count(), branch) for branch in (0, 1, 7)] == [True, True, False]


def test_manifest_that_is_required_and_missing_is_named() -> None:
    with pytest.raises(ManifestError, match=r"^Sum has no manifest in .*/v1/Sum/manifests: run it first$"):
        Snapshot().required_manifest(Sum())


def test_states_are_words() -> None:
    assert [str(state) for state in State] == ["current", "stale", "missing"]
