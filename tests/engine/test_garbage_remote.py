"""What ``analysis gc`` does in stores on servers: the same as on a disk."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from luigi.task_register import Register

from analysis.engine import garbage as module
from analysis.engine.backends.bundle import UNUSED
from analysis.engine.garbage import find_garbage
from analysis.engine.leftovers import lock_path
from analysis.engine.process import identity
from analysis.engine.removal import remove_garbage
from analysis.engine.storage.base import OutageError, Store
from analysis.engine.storage.local import LocalStore
from analysis.engine.storage.mirrored import MirroredStore
from analysis.engine.storage.places import same_place, within
from analysis.engine.storage.remote import RemoteStore
from tests.engine.storage.fake import Server, store_of
from tests.engine.storage.toy_server import ToyServer, toy_store
from tests.engine.toy_garbage import GONE, manifests, put
from tests.engine.toys import Toy, copy_folder, dead_process, files, make_old, run_all

NOW_OF = "analysis.engine.placed.store_for"


@pytest.fixture
def server(tmp_path: Path) -> ToyServer:
    (tmp_path / "server").mkdir()
    return ToyServer(tmp_path / "server")


@pytest.fixture
def remote(server: ToyServer, store: Path, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:  # noqa: ARG001
    """A store with a finished workflow."""
    remote = toy_store(server)
    tasks_write_to(remote, monkeypatch)
    run_all(Toy())
    return remote


def tasks_write_to(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NOW_OF, lambda _family: store)
    Register.clear_instance_cache()


def reasons(store: Store, stale: bool = False, history: bool = False, moved: bool = False) -> dict[str, str]:
    return {item.file.relative: item.why for item in find_garbage(store, stale, history, moved=moved).garbage}


def claim(lock: Path, pid: int, host: str | None = None) -> Path:
    """A lock on a server: a folder with a claim in it."""
    here, token = identity(), "0123456789abcdef"
    content = {"boot": here.boot, "namespace": here.namespace, "host": host or here.host, "pid": pid, "start": None}
    put(lock / token, json.dumps({**content, "since": "today", "token": token}))
    return lock


def test_nothing_then_a_folder_of_no_task(remote: RemoteStore, server: ToyServer) -> None:
    assert reasons(remote, stale=True, history=True, moved=True) == {}
    before = files(server.folder)
    copy_folder(server.folder, "v1/Toy", "v3/deep/Other", **GONE)
    found = find_garbage(remote)
    assert {item.file.relative for item in found.garbage} == files(server.folder) - before
    removed = remove_garbage(remote, found.garbage)
    assert (removed.files, removed.left) == (9, ())
    assert files(server.folder) == before
    assert not (server.folder / "v3").exists()


def test_each_folder_is_listed_once_and_manifests_are_read_once(remote: RemoteStore, server: ToyServer) -> None:
    server.asked.clear()
    find_garbage(remote)
    assert server.asked == {"list": 4, "read": 3}  # root, version, task, manifests


def test_stale_and_replaced(remote: RemoteStore, server: ToyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "revision", 1)
    Toy(branch=1).run()
    garbage = find_garbage(remote, stale=True, history=True).garbage
    assert sorted(item.why for item in garbage) == ["replaced manifest", *["stale"] * 6]
    assert remove_garbage(remote, garbage).files == 7
    assert len(files(server.folder)) == 3
    assert Toy(branch=1).complete()


@pytest.mark.parametrize("request_", ["list", "read", "stat"])
def test_an_outage_never_makes_garbage(remote: RemoteStore, server: ToyServer, request_: str) -> None:
    copy_folder(server.folder, "v1/Toy", "v1/Other", **GONE)
    if request_ == "stat":  # asked at the removal
        garbage = find_garbage(remote).garbage
        server.down_for = {request_}
        removed = remove_garbage(remote, garbage)
        assert (removed.files, len(removed.left)) == (0, 9)
        assert {why for _, why in removed.left} == {"connection refused"}
        assert server.asked[request_] < 9 + 16  # after the first answer that did not come, no more
    else:
        server.down_for = {request_}
        with pytest.raises(OutageError):
            find_garbage(remote)
    server.down_for = set()
    assert (server.folder / "v1/Other/a_0.txt").exists()


def test_what_changed_meanwhile_is_left(remote: RemoteStore, server: ToyServer) -> None:
    path = put(server.folder / "v1/Toy/other.txt")
    same_size = put(server.folder / "v1/Toy/again.txt", "junk")
    make_old(same_size)
    garbage = find_garbage(remote).garbage
    path.write_text("more than junk")
    same_size.write_text("knuj")
    left = remove_garbage(remote, garbage).left
    assert left == tuple((f"v1/Toy/{name}.txt", "it changed in the meantime") for name in ("again", "other"))


def test_live_locks_are_respected_and_dead_ones_removed(remote: RemoteStore, server: ToyServer) -> None:
    copy_folder(server.folder, "v1/Toy", "v1/Other", **GONE)
    garbage = find_garbage(remote).garbage
    lock = remote.lock(lock_path(remote.root / "v1/Other", 1))
    assert lock.acquire()
    found = find_garbage(remote)
    assert found.garbage == ()
    assert "is at work there" in dict(found.kept)["v1/Other"]
    assert remove_garbage(remote, garbage).files == 0
    lock.release()

    folder = server.folder / "v1/Toy/manifests"
    before, dead = files(server.folder / "v1/Toy"), dead_process()
    for name in (".1.lock", ".2.lock.0123456789abcdef"):
        claim(folder / name, dead)
    (folder / ".0.lock").mkdir()
    items = [item for item in find_garbage(remote).garbage if item.folder == "v1/Toy"]
    assert {item.file.path.name for item in items} == {".0.lock", ".1.lock", ".2.lock.0123456789abcdef"}
    removed = remove_garbage(remote, items)
    assert (removed.files, removed.left) == (3, ())
    assert files(server.folder / "v1/Toy") == before
    assert not list(folder.glob(".*"))


def test_leftovers_of_uploads(remote: RemoteStore, server: ToyServer) -> None:
    folder, host = server.folder / "v1/Toy", socket.gethostname()
    dead = put(folder / f".a_1.txt.{host}-{dead_process()}-x0a1b2c3d.part")
    put(folder / f".a_1.txt.{host}-{os.getppid()}-x0a1b2c3d.part")
    put(folder / ".a_1.txt.elsewhere-12-x0a1b2c3d.part")
    old = put(folder / ".b_1.txt.elsewhere-12-x0a1b2c3d.part")
    make_old(old)
    assert reasons(remote).keys() == {f"v1/Toy/{path.name}" for path in (dead, old)}


def test_a_server_that_tells_no_times_has_no_old_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()  # its times are 0
    remote = store_of(server)
    tasks_write_to(remote, monkeypatch)
    for name in (".a_1.txt.elsewhere-12-x0a1b2c3d.part", "manifests/.1.lock.0a.clock"):
        server.add(f"store/v1/Toy/{name}", b"x")
    assert reasons(remote) == {}


def test_names_that_lead_elsewhere_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()
    remote = store_of(server)
    tasks_write_to(remote, monkeypatch)
    server.add("store/v1/Toy/manifests/x", b"x")
    server.add("store/v1/Toy/%2e%2e/Other/a", b"x")
    found = find_garbage(remote)
    assert found.garbage == ()
    assert found.foreign == ("v1/Toy/%2e%2e",)


# families that moved


def moved_to_disk(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks_write_to(LocalStore(store), monkeypatch)


def test_a_change_of_the_configuration_is_no_reason(
    remote: RemoteStore, server: ToyServer, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(server.folder)
    moved_to_disk(store, monkeypatch)
    found = find_garbage(remote, stale=True, history=True)
    assert found.garbage == ()
    assert found.kept == (("v1/Toy", "Toy writes to local now; with --moved it is garbage here"),)
    garbage = find_garbage(remote, moved=True).garbage
    assert {item.file.relative for item in garbage} == before
    assert {item.why for item in garbage} == {"Toy writes to local now"}
    run_all(Toy())
    assert remove_garbage(remote, garbage).files == 9
    assert find_garbage(LocalStore(store), stale=True, moved=True).garbage == ()


def test_one_place_under_two_names_has_not_moved(
    remote: RemoteStore, server: ToyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = toy_store(server, "another_name")
    tasks_write_to(other, monkeypatch)
    assert same_place(remote, other)
    assert reasons(remote, stale=True, moved=True) == {}


@pytest.fixture
def mirrored(server: ToyServer, store: Path, monkeypatch: pytest.MonkeyPatch) -> MirroredStore:
    """A finished workflow whose mirror is ``ANALYSIS_STORE``."""
    mirrored = MirroredStore(toy_store(server), store)
    tasks_write_to(mirrored, monkeypatch)
    run_all(Toy())
    return mirrored


def test_a_mirror_is_never_garbage_of_the_disk(mirrored: MirroredStore, store: Path) -> None:
    assert len(files(store)) == 9
    found = find_garbage(LocalStore(store), moved=True)
    assert found.garbage == ()
    assert found.kept == (("v1/Toy", f"it is the mirror of {mirrored.name}, and is looked after with that"),)


def test_garbage_goes_from_both_and_leftovers_from_the_mirror(
    mirrored: MirroredStore, server: ToyServer, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Toy, "branch_count", 2)
    Register.clear_instance_cache()
    part = put(store / f"v1/Toy/.a_1.txt.{socket.gethostname()}-{dead_process()}.part")
    found = find_garbage(mirrored)
    assert [item.file.path for item in found.mirror] == [part]
    assert remove_garbage(mirrored, found.garbage).files == 3
    assert remove_garbage(mirrored.mirror, found.mirror).files == 1
    assert files(store) == files(server.folder)
    assert len(files(store)) == 6


# stores within others, and bundles


def test_a_store_in_another_one_is_left(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = LocalStore(store / "fast", "disk_b")
    tasks_write_to(inner, monkeypatch)
    run_all(Toy())
    outer = LocalStore(store)
    assert len(reasons(outer)) == 9  # so it would be
    monkeypatch.setattr(module, "configured", lambda: [outer, inner])
    found = find_garbage(outer, moved=True)
    assert (found.garbage, found.kept) == ((), (("fast", "it is another store"),))
    assert find_garbage(inner).garbage == ()
    assert within(inner, [outer, inner]) == set()


def test_old_bundles_go_unless_a_job_needs_them(remote: RemoteStore, server: ToyServer) -> None:
    names = [f"repository-{digit * 16}.tar.gz" for digit in "abc"] + ["notes.txt"]
    paths = [put(server.folder / ".bundles" / name) for name in names]
    for path in paths[1:]:
        os.utime(path, (path.stat().st_mtime - UNUSED - 10,) * 2)
    assert find_garbage(remote).garbage == ()
    garbage = find_garbage(remote, bundles={names[1]}).garbage
    assert [item.file.path.name for item in garbage] == [names[2]]
    assert remove_garbage(remote, garbage).files == 1
    assert files(server.folder / ".bundles") == {names[0], names[1], names[3]}


def test_a_damaged_manifest_is_no_reason(remote: RemoteStore, server: ToyServer) -> None:
    folder = copy_folder(server.folder, "v1/Toy", "v1/Other", **GONE)
    manifests(folder)[0].write_text("{")
    assert reasons(remote) == {}
