from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from luigi.task_register import Register

from analysis.engine import garbage as module
from analysis.engine.garbage import Findings
from analysis.engine.process import identity
from analysis.engine.removal import Removed
from tests.engine.toy_garbage import GONE, delete, find_garbage, finished, found, manifests, put
from tests.engine.toys import FileToy, Toy, copy_folder, dead_process, files, make_old, run_all


@pytest.fixture
def store(store: Path) -> Path:
    """A store with a finished workflow."""
    return finished(store)


def test_what_tasks_own_is_no_garbage(store: Path) -> None:
    run_all(Toy(number=7))
    run_all(Toy(version="v2", label="b c"))
    assert find_garbage(store, stale=True, history=True) == Findings((), (), ())


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"recipe": {"task": "NoSuchTask"}}, "there is no task NoSuchTask"),
        ({"recipe": {"task": "Task"}}, "there is no task Task whose outputs are committed"),
        ({"parameters": {"version": "v1", "nothing": "1"}}, "there is no task Toy with a parameter nothing"),
        ({"parameters": {"version": "v1", "number": "-1"}}, "--number -1 is negative: use a positive one"),
        ({"parameters": {"version": "v1", "number": "x"}}, "invalid literal for int() with base 10: 'x'"),
        ({"parameters": {"version": "v1", "number": "1"}}, "Toy with these parameters has another folder now"),
        ({"parameters": {"version": "../.."}}, "--version '../..' cannot be the name of a folder"),
    ],
)
def test_folder_of_no_task(store: Path, fields: dict[str, dict[str, str]], why: str) -> None:
    before = files(store)
    copy_folder(store, "v1/Toy", "v3/deep/Other", **fields)
    everything = files(store)
    reasons = found(store)
    assert reasons.keys() == everything - before
    assert all(reason.startswith(why) for reason in reasons.values())
    assert files(store) == everything

    removed = delete(store)
    assert (removed.files, removed.left) == (9, ())
    assert files(store) == before
    assert not (store / "v3").exists()
    assert delete(store) == Removed(0, 0, ())
    assert files(store) == before


def test_files_that_are_no_output(store: Path) -> None:
    before = files(store)
    put(store / "v1/Toy/a_17.txt")
    put(store / "v1/Toy/sub/folder/a_1.txt")
    put(store / "v1/Toy/manifests/0.json")
    assert found(store) == {
        "v1/Toy/a_17.txt": "no output of any branch",
        "v1/Toy/sub/folder/a_1.txt": "no output of any branch",
        "v1/Toy/manifests/0.json": "no manifest",
    }
    delete(store)
    assert files(store) == before
    assert not (store / "v1/Toy/sub").exists()


def test_branches_that_do_not_exist_any_more(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "branch_count", 2)
    Register.clear_instance_cache()
    reasons = found(store)
    assert sorted(reasons.values()) == ["branch does not exist any more", *["no output of any branch"] * 2]
    delete(store)
    assert files(store) == {f"v1/Toy/{kind}_{b}.txt" for kind in "ab" for b in range(2)} | {
        path.relative_to(store).as_posix() for b in range(2) for path in (store / "v1/Toy/manifests").glob(f"{b}.*")
    }
    assert len(files(store)) == 6


def test_stale_and_replaced_only_if_asked_for(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "revision", 1)
    Toy(branch=1).run()
    assert found(store) == {}
    replaced = found(store, history=True)
    assert list(replaced.values()) == ["replaced manifest"]
    assert next(iter(replaced)).startswith("v1/Toy/history/1.")
    stale = found(store, stale=True)
    assert set(stale.values()) == {"stale"}
    assert {path for path in stale if path.endswith(".txt")} == {
        f"v1/Toy/{kind}_{b}.txt" for kind in "ab" for b in (0, 2)
    }
    assert len(stale) == 6

    assert delete(store, stale=True, history=True).files == 7
    assert len(files(store)) == 3
    assert Toy(branch=1).complete()
    assert not list((store / "v1/Toy/manifests").glob(".*"))


def test_one_damaged_manifest_among_others(store: Path) -> None:
    manifests(store / "v1/Toy")[0].write_text("{")
    assert found(store) == {}
    assert find_garbage(store).kept == ()


def test_damaged_manifest_where_the_others_have_no_task(store: Path) -> None:
    folder = copy_folder(store, "v1/Toy", "v1/Other", **GONE)
    manifests(folder)[1].write_text("{")
    assert found(store) == {}
    assert "is damaged" in find_garbage(store).kept[0][1]


@pytest.mark.parametrize("content", ["{", "[]", "{}", "", "[" * 100_000, '{"schema": 2, "recipe": []}'])
def test_folder_with_damaged_manifests_only(store: Path, content: str) -> None:
    before = files(store)
    for manifest in manifests(store / "v1/Toy"):
        manifest.write_text(content)
    findings = find_garbage(store)
    assert findings.garbage == ()
    assert [folder for folder, _ in findings.kept] == ["v1/Toy"]
    assert delete(store).files == 0
    assert files(store) == before


def test_manifest_of_a_newer_version(store: Path) -> None:
    folder = copy_folder(store, "v1/Toy", "v1/Other", **GONE)
    newest = manifests(folder)[0]
    newest.rename(newest.with_name(newest.name.replace(".v2.", ".v3.")))
    assert found(store) == {}
    assert "newer version" in find_garbage(store).kept[0][1]


def test_a_file_out_of_reach_is_no_reason(store: Path, tmp_path: Path) -> None:
    source = put(tmp_path / "toy.txt", "x y")
    run_all(FileToy(source=str(source)))
    Register.clear_instance_cache()
    source.unlink()
    findings = find_garbage(store)
    assert findings.garbage == ()
    assert findings.kept == (("v1/FileToy/toy", f"{source} cannot be read"),)


def test_tasks_that_share_a_folder(store: Path, tmp_path: Path) -> None:
    one, two = put(tmp_path / "1/toy.txt", "x"), put(tmp_path / "2/toy.txt", "x y z")
    run_all(FileToy(source=str(one)))
    FileToy(source=str(two), branch=2).run()
    assert found(store, stale=True) == {}


def test_a_bug_in_a_task_is_no_reason(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store / "v1/Toy/other.txt")
    monkeypatch.setattr(Toy, "output", lambda _task: 1 / 0)
    findings = find_garbage(store, stale=True)
    assert findings.garbage == ()
    assert findings.kept == (("v1/Toy", "ZeroDivisionError: division by zero"),)


def test_outputs_are_protected_wherever_they_are(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_folder(store, "v1/Toy", "v1/Another", **GONE)
    shared = put(folder / "shared.txt")
    monkeypatch.setattr(Toy, "output_paths", lambda task: [task.folder / ".." / "Another" / "shared.txt"])
    assert shared.relative_to(store).as_posix() not in found(store)
    assert "v1/Another/a_0.txt" in found(store)


def test_leftovers_of_dead_processes(store: Path) -> None:
    before, here, pid = files(store), socket.gethostname(), dead_process()
    folder = store / "v1/Toy"
    lock = put(folder / "manifests/.1.lock", json.dumps(holder(here, pid)))
    dead = put(folder / f".a_1.txt.{here}-{pid}.part")
    alive = put(folder / f".a_2.txt.{here}-{os.getppid()}.part")
    elsewhere = put(folder / ".a_2.txt.some.other.host-12.part")
    old = put(folder / ".b_2.txt.some.other.host-12.part")
    debris = put(folder / "manifests/.1.lock.0123.claim", "")
    make_old(old)
    make_old(debris)
    expected = {path.relative_to(store).as_posix() for path in (lock, dead, old, debris)}
    assert found(store) == dict.fromkeys(expected, "left over by a process that is gone")
    assert delete(store).left == ()
    assert files(store) - before == {path.relative_to(store).as_posix() for path in (alive, elsewhere)}


def holder(host: str, pid: int) -> dict[str, object]:
    """Content of a lock file of another process on this machine."""
    here = identity()
    keys = {"boot": here.boot, "namespace": here.namespace}
    return {**keys, "host": host, "pid": pid, "start": None, "since": "today", "token": "0123456789abcdef"}


def test_leftovers_are_found_where_no_manifest_is(store: Path) -> None:
    lock = put(store / "v1/First/manifests/.1.lock", json.dumps(holder(socket.gethostname(), dead_process())))
    put(store / "v1/First/a.txt")
    findings = find_garbage(store)
    assert [item.file.path for item in findings.garbage] == [lock]
    assert findings.kept == (("v1/First", "no manifest tells which task it belongs to"),)


@pytest.mark.parametrize("host", ["here", "elsewhere"])
def test_folder_with_a_live_lock_is_left(store: Path, host: str) -> None:
    folder = copy_folder(store, "v1/Toy", "v1/Other", **GONE)
    name = socket.gethostname() if host == "here" else "elsewhere"
    lock = put(folder / "manifests/.1.lock", json.dumps(holder(name, os.getpid())))
    findings = find_garbage(store)
    assert findings.garbage == ()
    assert findings.kept == (("v1/Other", f"process {os.getpid()} on {name} (since today) is at work there"),)
    make_old(lock)
    assert (found(store) == {}) == (host == "here")


def test_files_outside_of_task_folders_are_never_removed(store: Path) -> None:
    foreign = ["manifests/notes.json", "notes.txt", "v1/notes.txt", "v9/Other/a_0.txt"]
    for path in foreign:
        put(store / path)
    findings = find_garbage(store, stale=True, history=True)
    assert findings.garbage == ()
    assert findings.foreign == tuple(foreign)


def test_one_version_only(store: Path) -> None:
    copy_folder(store, "v1/Toy", "v1/Other", **GONE)
    copy_folder(store, "v1/Toy", "v2/Other", **GONE)
    put(store / "v1/notes.txt")
    findings = find_garbage(store, version="v2")
    assert {item.folder for item in findings.garbage} == {"v2/Other"}
    assert findings.foreign == ()
    assert find_garbage(store, version="..") == Findings((), (), ())


def test_directory_that_cannot_be_read_stops_all(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        find_garbage(store)


def test_making_a_task_again_is_its_inverse(store: Path) -> None:
    task = Toy(number=3, label="x/y", version="v7")
    assert module.make_again("Toy", task.significant_parameters()) == task
    assert Path(task.store.root).resolve() == store
