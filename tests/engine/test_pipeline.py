"""Branches whose outputs go to a server: what is done beside what computes, and that it changes nothing else."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import thread
from pathlib import Path, PurePath

import pytest

from analysis.engine import pipeline, placed, slots
from analysis.engine.branches import run_branches
from analysis.engine.commit import BusyError
from analysis.engine.errors import BranchesError
from analysis.engine.leftovers import lock_path
from analysis.engine.pipeline import Pipeline, _Group
from analysis.engine.storage import locks as locks_module
from analysis.engine.storage.endpoints import Endpoint, Endpoints
from analysis.engine.storage.interfaces.common import FORKS
from analysis.engine.storage.interfaces.fs import FsspecInterface
from analysis.engine.storage.remote import RemoteStore
from analysis.engine.storage.retry import Patience
from tests.engine.toy_chain import WORLD, Read, states

pytestmark = pytest.mark.usefixtures("world", "remote")

MANY = 40
SECONDS = 60.0
"""How long a thread waits for another one; only a test that fails takes that long."""


@pytest.fixture
def server(tmp_path: Path) -> Path:
    """What the server has, as it is on the disk."""
    path = tmp_path / "server"
    path.mkdir()
    return path


@pytest.fixture
def remote(server: Path, world: object, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:  # noqa: ARG001
    """The store of all tasks, with many branches that are short, however slow this machine is."""
    interface = FsspecInterface()
    doors = Endpoints("wlcg_fs", [Endpoint(f"file://{server}", lambda: interface)], Patience(0.0))
    store = RemoteStore("wlcg_fs", doors, checksum="off")
    monkeypatch.setattr(placed, "store_for", lambda _family: store)
    monkeypatch.setattr(pipeline, "SHORT", 1e6)
    WORLD.branches = dict.fromkeys(range(MANY), "short")
    return store


def ran() -> list[int]:
    return [int(title.rpartition(" ")[2]) for title in WORLD.ran]


def locks(server: Path) -> set[int]:
    """Branches that are locked."""
    # not rglob(), which fails if a folder is removed in this moment
    held = (Path(folder).name for folder, _, files in os.walk(server) if files)
    return {int(name.split(".")[1]) for name in held if name.endswith(".lock")}


def hook(number: int, action: Callable[[], None]) -> None:
    """Do something while a branch runs."""
    WORLD.hooks["Read"] = lambda task: action() if task.branch == number else None


@pytest.fixture
def listings(remote: RemoteStore, server: Path, monkeypatch: pytest.MonkeyPatch) -> list[set[int]]:
    """Locks that were held when the manifests were listed by name."""
    found: list[set[int]] = []
    names = remote.names

    def tell(folder: PurePath) -> list[str]:
        found.append(locks(server))
        return names(folder)

    monkeypatch.setattr(remote, "names", tell)
    return found


def test_all_branches_run_in_order_and_leave_nothing_else(server: Path, listings: Sequence[set[int]]) -> None:
    run_branches(Read())
    assert ran() == list(range(MANY))
    assert states(Read()) == "c" * MANY
    assert not list(server.rglob("*.part"))
    assert not list(server.rglob(".*.lock*"))
    assert len(listings) < MANY / 3
    assert max(map(len, listings)) > MANY / 4  # some of the group before may be free already


@pytest.mark.usefixtures("listings")
def test_long_branches_are_not_locked_before_their_turn(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "SHORT", 0.0)
    locked: list[bool] = []
    WORLD.hooks["Read"] = lambda task: locked.append(max(locks(server)) == task.branch)
    run_branches(Read())
    assert locked == [True] * MANY


def test_manifests_are_listed_when_all_locks_of_a_group_are_held(listings: Sequence[set[int]], server: Path) -> None:
    branches = list(Read().branch_tasks())[3:7]
    group = _Group(branches)
    claims = [group.pop(number) for number in (3, 4, 5)]
    assert listings == [{3, 4, 5, 6}]
    for claim in claims:
        assert claim is not None
        claim.lock.release()
    assert locks(server) == {6}
    group.close()
    assert locks(server) == set()
    assert group.pop(6) is None


def test_locks_whose_turn_does_not_come_are_given_back(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "HELD", 0.0)
    group = _Group(list(Read().branch_tasks())[:4])
    group.thread.join(SECONDS)
    assert [group.pop(number) for number in range(4)] == [None] * 4
    assert locks(server) == set()


def test_what_another_run_did_since_the_snapshot_is_not_done_again(server: Path, tmp_path: Path) -> None:
    run_branches(Read())
    done = tmp_path / "done"
    shutil.copytree(server, done)
    for path in server.rglob("*"):
        if path.is_file() and (path.name == "read_30.txt" or path.name.startswith("30.")):
            path.unlink()
    missing = [path.relative_to(done) for path in done.rglob("*") if not (server / path.relative_to(done)).exists()]
    assert len(missing) == 2
    shutil.rmtree(server)
    server.mkdir()
    WORLD.ran.clear()

    def other_run() -> None:
        for path in missing:
            (server / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(done / path, server / path)

    hook(2, other_run)
    run_branches(Read())
    assert ran() == [number for number in range(MANY) if number != 30]
    assert states(Read()) == "c" * MANY


def test_branch_of_another_run_is_left_to_it(remote: RemoteStore) -> None:
    lock = remote.lock(lock_path(Read().folder, 20))
    assert lock.acquire()
    group = _Group(list(Read().branch_tasks())[19:21])
    with pytest.raises(BusyError):
        group.pop(20)
    group.close()
    hook(MANY - 1, lock.release)
    run_branches(Read())
    assert ran() == [*(number for number in range(MANY) if number != 20), 20]
    assert states(Read()) == "c" * MANY


def test_commit_that_fails_is_that_of_its_branch(
    remote: RemoteStore, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    publish = remote.publish_many

    def refuse(outputs: Sequence[tuple[Path, PurePath, int, str]]) -> None:
        if outputs[0][1].name == "read_17.txt":
            msg = "no luck"
            raise ValueError(msg)
        publish(outputs)

    monkeypatch.setattr(remote, "publish_many", refuse)
    with pytest.raises(BranchesError, match=rf"^1 of {MANY} branches failed \(17\): ValueError: no luck$"):
        run_branches(Read())
    assert states(Read()) == "c" * 17 + "m" + "c" * (MANY - 18)
    assert locks(server) == set()
    assert not list(server.rglob("read_17*"))
    assert not list(temporary.iterdir())


def test_branches_in_flight_are_few(remote: RemoteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    full, go = threading.Event(), threading.Event()
    publish, waiting = remote.publish_many, list[int]()

    def wait(outputs: Sequence[tuple[Path, PurePath, int, str]]) -> None:
        waiting.append(len(waiting))
        if len(waiting) == 3:
            full.set()
        assert go.wait(SECONDS)
        publish(outputs)

    def check(task: Read) -> None:
        if task.branch == 3:  # of three that are on their way, none has ended
            assert full.wait(SECONDS)
            go.set()

    monkeypatch.setattr(pipeline, "COMMITS", 3)
    monkeypatch.setattr(remote, "publish_many", wait)
    WORLD.hooks["Read"] = check
    run_branches(Read())
    assert states(Read()) == "c" * MANY


def test_fork_waits_for_what_is_on_its_way(remote: RemoteStore, server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forking, publish, free = threading.Event(), remote.publish_many, list[bool]()
    pause = Pipeline.pause

    def tell(self: Pipeline) -> None:
        forking.set()
        pause(self)

    def wait(outputs: Sequence[tuple[Path, PurePath, int, str]]) -> None:
        if outputs[0][1].name == "read_19.txt":
            assert forking.wait(SECONDS)
            free.append(not FORKS._is_closed)
            for needed in (thread._global_shutdown_lock, locks_module._heart._mutex):
                free.append(needed.acquire(timeout=1))
                if free[-1]:
                    needed.release()
        publish(outputs)

    monkeypatch.setattr(Pipeline, "pause", tell)
    monkeypatch.setattr(remote, "publish_many", wait)

    def fork() -> None:
        if not (child := os.fork()):
            os._exit(0)
        os.waitpid(child, 0)
        assert not [one for one in threading.enumerate() if one.name.startswith("commit")]
        assert len(list(server.rglob("read_*.txt"))) == 20

    hook(20, fork)
    run_branches(Read())
    assert free == [True, True, True]  # else it would wait for the fork, and the fork for it
    assert states(Read()) == "c" * MANY


def test_interrupted_run_keeps_what_ran(server: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    hook(20, interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_branches(Read())
    assert states(Read()) == "c" * 20 + "m" * 20
    assert locks(server) == set()


@pytest.fixture
def two_workers() -> Iterator[None]:
    slots.configure(2)
    yield
    slots.configure(1)


@pytest.mark.usefixtures("two_workers")
def test_helpers_do_all_branches(server: Path) -> None:
    run_branches(Read())
    assert states(Read()) == "c" * MANY
    assert not list(server.rglob(".*.lock*"))


def test_shallow_one_takes_branches_one_by_one() -> None:
    source = iter(Read().branch_tasks())
    handed_out = Pipeline(is_deep=False)
    for task in handed_out.each(source):
        assert handed_out.claim(task) is None
        assert not handed_out.has_more
        if task.branch == 10:
            break
    assert next(source).branch_number == 11
