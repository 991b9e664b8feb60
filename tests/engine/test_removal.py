from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from luigi.task_register import Register

from analysis.engine import removal
from analysis.engine.lock import Lock
from analysis.engine.removal import Removed
from analysis.engine.storage.local import LocalStore
from analysis.engine.walk import stamp
from tests.engine.toy_garbage import GONE, delete, find_garbage, finished, found, manifests, put, remove_garbage
from tests.engine.toys import Toy, copy_folder, edit, files, run_all


@pytest.fixture
def store(store: Path) -> Path:
    """A store with a finished workflow."""
    return finished(store)


def test_size_is_counted(store: Path) -> None:
    shutil.rmtree(store / "v1")
    put(store / "v1/Toy/a.txt", "123")
    put(store / "v1/Toy/manifests/1.json")
    assert delete(store) == Removed(0, 0, ())  # no manifest tells whose it is
    run_all(Toy())
    assert delete(store) == Removed(2, 3 + 4, ())


def test_the_store_itself_is_left(store: Path) -> None:
    for manifest in manifests(store / "v1/Toy"):
        edit(manifest, recipe={"task": "NoSuchTask"})
    delete(store)
    assert list(store.iterdir()) == []


def test_stale_branch_that_is_being_made_is_left(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "revision", 1)
    garbage = find_garbage(store, stale=True).garbage
    with Lock(store / "v1/Toy/manifests/.1.lock"):
        before = files(store)
        removed = remove_garbage(store, garbage)
    assert removed.files == 0
    assert {why.partition(" ")[0] for _, why in removed.left} == {"process"}
    assert files(store) | {"v1/Toy/manifests/.1.lock"} == before


def test_stale_branch_that_is_taken_in_the_last_moment_is_left(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "revision", 1)
    monkeypatch.setattr(removal, "live_holder", lambda _store, _files: None)
    garbage = find_garbage(store, stale=True).garbage
    with Lock(store / "v1/Toy/manifests/.1.lock"):
        removed = remove_garbage(store, garbage)
    assert removed.files == 6
    assert {why for _, why in removed.left} == {"somebody is at work there"}
    assert {path for path, _ in removed.left} == files(store)


def test_branch_that_was_made_meanwhile_is_left(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "revision", 1)
    garbage = find_garbage(store, stale=True).garbage
    Toy(branch=1).run()
    removed = remove_garbage(store, garbage)
    assert Toy(branch=1).complete()
    assert {path for path, _ in removed.left} == {"v1/Toy/a_1.txt", "v1/Toy/b_1.txt"}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory that is none of our business, and looks like a task folder."""
    for name in ("a_0.txt", "manifests/0.json", "history/0.json"):
        put(tmp_path / "outside" / name)
    return tmp_path / "outside"


def test_links_are_neither_followed_nor_removed(store: Path, outside: Path) -> None:
    folder = copy_folder(store, "v1/Toy", "v1/Other", **GONE)
    (folder / "directory").symlink_to(outside)
    (folder / "file").symlink_to(outside / "a_0.txt")
    (folder / "inside").symlink_to(store / "v1/Toy/a_0.txt")
    (store / "v1/Linked").symlink_to(outside)
    (store / "v2").symlink_to(outside)
    before = files(store)
    findings = find_garbage(store, history=True)
    assert findings.foreign == ("v1/Linked", *(f"v1/Other/{n}" for n in ("directory", "file", "inside")), "v2")
    assert find_garbage(store, version="v2").garbage == ()
    assert remove_garbage(store, findings.garbage).files == 9
    assert files(outside) == {"a_0.txt", "manifests/0.json", "history/0.json"}
    assert files(store) < before
    assert set(findings.foreign) < files(store)


def test_link_that_appears_later_is_not_followed(store: Path, outside: Path) -> None:
    folder = copy_folder(store, "v1/Toy", "v1/Other", **GONE)
    garbage = find_garbage(store).garbage
    shutil.rmtree(folder)
    shutil.copytree(store / "v1/Toy", outside, dirs_exist_ok=True)
    before = files(outside)
    folder.symlink_to(outside)
    removed = remove_garbage(store, garbage)
    assert removed.files == 0
    assert {why for _, why in removed.left} == {"it is not in the store, or a link leads there"}
    assert files(outside) == before


def test_store_that_is_a_link(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = tmp_path / "link"
    link.symlink_to(store)
    monkeypatch.setenv("ANALYSIS_STORE", str(link))
    Register.clear_instance_cache()
    put(link / "v1/Toy/other.txt")
    assert list(found(link.resolve())) == ["v1/Toy/other.txt"]
    assert delete(link.resolve()).files == 1


def test_forged_manifest_reaches_nothing_outside(store: Path, outside: Path) -> None:
    name = "../outside/a_0.txt"
    for manifest in manifests(store / "v1/Toy"):
        edit(manifest, outputs=[{"path": name, "size": 4, "adler32": "0"}], recipe={"task": "NoSuchTask"})
    reasons = found(store, stale=True, history=True)
    assert all(not path.startswith("..") for path in reasons)
    delete(store, stale=True, history=True)
    assert files(outside) == {"a_0.txt", "manifests/0.json", "history/0.json"}


def test_garbage_outside_the_store_is_refused(store: Path, outside: Path) -> None:
    put(store / "v1/Toy/other.txt")
    item = find_garbage(store).garbage[0]
    there = outside / "a_0.txt"
    forged = item._replace(file=item.file._replace(path=there, stamp=stamp(LocalStore(store), there)))
    dotted = forged._replace(file=forged.file._replace(path=store / "../outside/a_0.txt"))
    assert [why for _, why in remove_garbage(store, [forged, dotted]).left] == [
        "it is not in the store, or a link leads there"
    ] * 2
    assert (outside / "a_0.txt").exists()


def test_file_that_changed_meanwhile_is_left(store: Path) -> None:
    path = put(store / "v1/Toy/other.txt")
    garbage = find_garbage(store).garbage
    path.write_text("more than junk")
    assert remove_garbage(store, garbage).left == (("v1/Toy/other.txt", "it changed in the meantime"),)
    assert path.exists()


def test_file_that_cannot_be_removed_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path, **_options: bool) -> None:
        raise PermissionError(13, "Permission denied")

    put(store / "v1/Toy/other.txt")
    monkeypatch.setattr(Path, "unlink", refuse)
    assert delete(store).left == (("v1/Toy/other.txt", "permission denied"),)


NAME = st.text("abc._-", min_size=1, max_size=6).filter(lambda text: text.strip("."))


@given(st.sets(st.lists(NAME, min_size=1, max_size=2).map(tuple), max_size=6))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_deleting_restores_the_store(store: Path, names: set[tuple[str, ...]]) -> None:
    before = files(store)
    for parts in names:
        path = (store / "v1/Toy").joinpath(*parts)
        if (
            not any((store / "v1/Toy").joinpath(*parts[:n]).is_file() for n in range(1, len(parts)))
            and not path.is_dir()
        ):
            put(path)
    junk = files(store) - before
    assert found(store).keys() == junk
    assert delete(store).files == len(junk)
    assert files(store) == before
