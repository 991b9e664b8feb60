from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from luigi.task_register import Register

from analysis.engine.history import Entry, read_history
from analysis.engine.maintain import accept
from tests.engine.toys import Toy, edit, run_all


@pytest.fixture
def store(store: Path) -> Path:
    """A store with a finished workflow, whose branch 1 was made twice, by two recipes."""
    Register.clear_instance_cache()
    run_all(Toy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Toy, "revision", 1)
        Toy(branch=1).run()
    Register.clear_instance_cache()
    return store


def states(entries: list[Entry]) -> dict[tuple[int | None, str], str]:
    return {(entry.name.branch, entry.path.split("/")[2]): entry.state for entry in entries}


def present(store: Path, branch: int) -> Path:
    return next((store / "v1/Toy/manifests").glob(f"{branch}.*"))


def finish(manifest: Path, when: str) -> None:
    edit(manifest, provenance={"finished": when})


def test_never_run(store: Path) -> None:
    shutil.rmtree(store)
    assert read_history(Toy()) == []


def test_states(store: Path) -> None:
    (store / "v1/Toy/a_2.txt").unlink()
    expected = {
        (0, "manifests"): "current",
        (1, "manifests"): "stale",
        (1, "history"): "replaced",
        (2, "manifests"): "missing",
    }
    assert states(read_history(Toy())) == expected


def test_one_branch(store: Path) -> None:
    assert (store / "v1/Toy").is_dir()
    assert states(read_history(Toy(branch=1))) == {(1, "manifests"): "stale", (1, "history"): "replaced"}


def test_branch_that_is_gone(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (store / "v1/Toy").is_dir()
    monkeypatch.setattr(Toy, "branch_count", 2)
    assert states(read_history(Toy()))[2, "manifests"] == "no such branch"


def test_newest_first(store: Path) -> None:
    finish(present(store, 0), "2026-01-02T00:00:00+00:00")
    finish(present(store, 1), "2026-01-03T00:00:00+00:00")
    finish(present(store, 2), "2026-01-01T00:00:00+00:00")
    finish(next((store / "v1/Toy/history").iterdir()), "")
    found = [(entry.name.branch, entry.finished[:10]) for entry in read_history(Toy())]
    assert found == [(1, "2026-01-03"), (0, "2026-01-02"), (2, "2026-01-01"), (1, "")]


def test_replaced_in_the_same_second(store: Path) -> None:
    """The outputs are those of one moment: what was replaced last comes first, whatever the recipes are called."""
    first = next((store / "v1/Toy/history").iterdir())
    branch, when, own, rest = first.name.split(".", 3)
    for year, name in (("2090", "0" * 10), ("2091", "f" * 10), ("2092", "5" * 10)):
        shutil.copy(first, first.with_name(f"{branch}.{year}{when[4:]}.{name}.{rest}"))
    found = [str(entry.name.recipe)[:1] for entry in read_history(Toy(branch=1)) if entry.state == "replaced"]
    assert found == ["5", "f", "0", own[0]]


def test_the_second_manifest_of_a_branch_does_not_count(store: Path) -> None:
    replaced = next((store / "v1/Toy/history").iterdir())
    branch, _, rest = replaced.name.partition(".")
    shutil.copy(replaced, store / "v1/Toy/manifests" / f"{branch}.{rest.partition('.')[2]}")
    found = [entry.state for entry in read_history(Toy(branch=1))]
    assert sorted(found) == ["current", "replaced", "replaced"]


def test_adopted(store: Path) -> None:
    assert (store / "v1/Toy").is_dir()
    task = Toy(branch=1)
    accept(task, "Toy")
    newest = read_history(task)[0]
    assert newest.state == "current"
    assert newest.manifest is not None
    assert newest.written == newest.manifest.adopted[0].when
    assert [adoption.why for adoption in newest.manifest.adopted] == ["accepted"]
    assert newest.to_json()["adopted"][0]["who"] == newest.manifest.adopted[0].who


@pytest.mark.parametrize("content", ["{", "[" * 100_000])
def test_damaged_manifest_is_an_entry(store: Path, content: str) -> None:
    present(store, 0).write_text(content)
    damaged = [entry for entry in read_history(Toy()) if entry.manifest is None]
    assert [entry.name.branch for entry in damaged] == [0]
    assert damaged[0].problem
    assert damaged[0].to_json().keys() == {"path", "branch", "recipe", "state", "problem"}
    assert read_history(Toy())[-1] == damaged[0]


def test_state_that_cannot_be_told(store: Path) -> None:
    newest = present(store, 0)
    newest.rename(newest.with_name(newest.name.replace(".v2.", ".v3.")))
    found = read_history(Toy())
    assert {entry.state for entry in found} == {"unknown", "replaced"}
    assert len([entry for entry in found if entry.manifest]) == 4
