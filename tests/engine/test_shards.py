"""A workflow of 2500 branches, whose outputs, manifests, history and logs are in three folders each."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

import law
import pytest
from luigi.task_register import Register

from analysis.engine.backends import joblogs, settings
from analysis.engine.backends.control import cleanup
from analysis.engine.backends.joblogs import Attempt, timestamp
from analysis.engine.branches import run_branches
from analysis.engine.fetch import remove_output
from analysis.engine.garbage import find_garbage
from analysis.engine.history import read_history
from analysis.engine.leftovers import lock_path
from analysis.engine.lock import Lock
from analysis.engine.maintain import accept, verify_checksums
from analysis.engine.removal import remove_garbage
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage.base import Entry
from analysis.engine.storage.local import LocalStore
from analysis.engine.workflow import AnalysisWorkflow
from tests.engine.toys import make_old

BRANCHES = 2500
SHARDS = ("", "1000-1999", "2000-2999")
ONE_EACH = (17, 1017, 2017)


class CountingStore(LocalStore):
    """Counts listings."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.listed: Counter[str] = Counter()

    def _count(self, folder: PurePath) -> None:
        self.listed[folder.relative_to(self.root).as_posix()] += 1

    def sizes(self, folder: PurePath) -> dict[str, int]:
        self._count(folder)
        return super().sizes(folder)

    def names(self, folder: PurePath) -> list[str]:
        self._count(folder)
        return super().names(folder)

    def entries(self, folder: PurePath) -> list[Entry]:
        self._count(folder)
        return super().entries(folder)


class ManyShards(AnalysisWorkflow):
    """Writes the number of the branch."""

    branch_count = BRANCHES
    counting: CountingStore
    ran: list[int] = []  # noqa: RUF012

    @property
    def store(self) -> CountingStore:
        return type(self).counting

    def create_branch_map(self) -> dict[int, Any]:
        return {number: number for number in range(self.branch_count)}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"number_{self.branch}.txt")

    def run(self) -> None:
        self.ran.append(self.branch)
        self.staged(self.output()).write_text(str(self.branch))


def use(root: Path) -> None:
    ManyShards.counting = CountingStore(root)
    ManyShards.ran.clear()
    Register.clear_instance_cache()


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which all branches are done."""
    root = tmp_path_factory.mktemp("full") / "store"
    use(root)
    run_branches(ManyShards())
    assert ManyShards.ran == list(range(BRANCHES))
    return root


@pytest.fixture
def root(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of it."""
    root = tmp_path / "store"
    shutil.copytree(full, root)
    monkeypatch.setenv("ANALYSIS_STORE", str(root))
    monkeypatch.setattr(settings, "jobs_folder", lambda: tmp_path / "jobs")
    use(root)
    yield root
    Register.clear_instance_cache()


def states() -> Counter[str]:
    return Counter(str(state) for state in Snapshot().states(ManyShards()).values())


def place(root: Path, kind: str, shard: str) -> Path:
    return root / "v1" / "ManyShards" / kind / shard


def forget_one_each(root: Path) -> None:
    """Remove a manifest in each folder."""
    for shard, branch in zip(SHARDS, ONE_EACH, strict=True):
        (manifest,) = place(root, "manifests", shard).glob(f"{branch}.*")
        manifest.unlink()


def log_of(branch: int, number: int = 0) -> Attempt:
    return Attempt(branch, timestamp(1.6e9 + number), f"0a1b-{number}", "ok")


def test_each_folder_has_its_thousand(root: Path) -> None:
    for shard, number in zip(SHARDS, (1000, 1000, 500), strict=True):
        assert sum(path.is_file() for path in place(root, "", shard).iterdir()) == number
        assert len(list(place(root, "manifests", shard).glob("*.json"))) == number
    assert place(root, "", "1000-1999").joinpath("number_1000.txt").read_text() == "1000"


def test_states_take_two_listings_per_folder(root: Path) -> None:  # noqa: ARG001
    assert states() == {"current": BRANCHES}
    folders = [f"v1/ManyShards/{kind}{shard}".rstrip("/") for kind in ("", "manifests/") for shard in SHARDS]
    assert ManyShards.counting.listed == dict.fromkeys(folders, 1)


def test_one_branch_of_each_folder_runs_again(root: Path) -> None:
    forget_one_each(root)
    assert states() == {"current": BRANCHES - 3, "missing": 3}
    run_branches(ManyShards())
    assert ManyShards.ran == list(ONE_EACH)
    assert states() == {"current": BRANCHES}


def test_history_has_all_folders(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ManyShards, "revision", 1)
    for branch in ONE_EACH:
        ManyShards(branch=branch).run()
    for shard, branch in zip(SHARDS, ONE_EACH, strict=True):
        assert [path.name.split(".")[0] for path in place(root, "history", shard).glob("*.json")] == [str(branch)]
        entries = read_history(ManyShards(branch=branch))
        assert [(entry.state, bool(entry.withdrawn)) for entry in entries] == [("current", False), ("replaced", True)]
    assert Counter(entry.state for entry in read_history(ManyShards())) == {
        "current": 3,
        "replaced": 3,
        "stale": BRANCHES - 3,
    }


def test_a_workflow_that_shrinks_leaves_garbage(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for branch in ONE_EACH:
        joblogs.write(ManyShards.counting, root / "v1/ManyShards", log_of(branch), b"log", None)
    assert find_garbage(ManyShards.counting, stale=True, history=True).garbage == ()
    monkeypatch.setattr(ManyShards, "branch_count", 1500)
    Register.clear_instance_cache()
    garbage = find_garbage(ManyShards.counting).garbage
    assert Counter(item.why for item in garbage) == {
        "branch does not exist any more": 1001,
        "no output of any branch": 1000,
    }
    removed = remove_garbage(ManyShards.counting, garbage)
    assert (removed.files, removed.left) == (2001, ())
    for kind in ("", "manifests", "logs"):
        assert place(root, kind, "1000-1999").is_dir()
        assert not place(root, kind, "2000-2999").exists()
    assert states() == {"current": 1500}
    assert find_garbage(ManyShards.counting).garbage == ()


@pytest.mark.parametrize("branch", ONE_EACH)
def test_a_lock_is_respected_wherever_it_is(root: Path, branch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ManyShards, "revision", 1)
    garbage = find_garbage(ManyShards.counting, stale=True).garbage
    assert len(garbage) == 2 * BRANCHES
    with Lock(lock_path(root / "v1/ManyShards", branch)):
        assert find_garbage(ManyShards.counting, stale=True).garbage == ()
        assert remove_garbage(ManyShards.counting, garbage[:3]).files == 0


def test_leftovers_are_found_in_each_folder(root: Path) -> None:
    expected = set()
    for shard, branch in zip(SHARDS, ONE_EACH, strict=True):
        for path in (
            place(root, "", shard) / f".number_{branch}.txt.elsewhere-12.part",
            place(root, "manifests", shard) / f".{branch}.lock",
        ):
            path.touch()
            make_old(path)
            expected.add(path)
    garbage = find_garbage(ManyShards.counting).garbage
    assert {item.file.path for item in garbage} == expected
    assert remove_garbage(ManyShards.counting, garbage).left == ()
    assert not any(path.exists() for path in expected)


def test_logs_of_all_folders(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, folder = ManyShards.counting, root / "v1/ManyShards"
    for number in range(2):
        for branch in ONE_EACH:
            joblogs.write(store, folder, log_of(branch, number), b"says %d" % branch, None)
    found = joblogs.attempts(store, folder)
    assert {branch: len(attempts) for branch, attempts in found.items()} == dict.fromkeys(ONE_EACH, 2)
    assert joblogs.read_log(store, folder, found[2017][1]) == "says 2017"
    joblogs.rotate(store, folder, keep=1)
    assert [path.name for path in place(root, "logs", "1000-1999").iterdir()] == [log_of(1017, 1).log]
    capsys.readouterr()
    assert cleanup(ManyShards(), "all") == 0
    assert capsys.readouterr().out == "0 submissions that are over and 3 logs were removed.\n"
    assert joblogs.attempts(store, folder) == {}


def test_outputs_of_all_folders_are_removed(root: Path) -> None:
    assert remove_output(ManyShards(), ["0", "a"]) == 0
    for shard, number in zip(SHARDS, (1000, 1000, 500), strict=True):
        assert not [path for path in place(root, "", shard).iterdir() if path.is_file()]
        assert not list(place(root, "manifests", shard).glob("*.json"))
        assert len(list(place(root, "history", shard).glob("*.json"))) == number
    assert states() == {"missing": BRANCHES}


def test_damage_is_found_in_each_folder(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shard, branch in zip(SHARDS, ONE_EACH, strict=True):
        path = place(root, "", shard) / f"number_{branch}.txt"
        path.write_text("x" * path.stat().st_size)
    assert verify_checksums(ManyShards()) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"{BRANCHES - 3} whole, 3 damaged"
    assert states() == {"current": BRANCHES - 3, "missing": 3}
    assert [len(list(place(root, "history", shard).glob("*.json"))) for shard in SHARDS] == [1, 1, 1]


def test_all_folders_are_accepted(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ManyShards, "revision", 1)
    assert states() == {"stale": BRANCHES}
    assert accept(ManyShards(), "all") == 0
    assert states() == {"current": BRANCHES}
    assert [len(list(place(root, "history", shard).glob("*.json"))) for shard in SHARDS] == [1000, 1000, 500]
