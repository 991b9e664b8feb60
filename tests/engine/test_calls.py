"""How often ``law run`` asks the store, with workflows of 1000 branches.

What counts as a call: a listing of a directory, a look at a single file or directory (``exists``, ``stat``, ``access``)
and the opening of a file to read, be it a manifest or a lock. What does not count: changes (a lock, the output, the
manifest), the run of the branch itself, which reads its input and writes its output, and the verification of that
output in its temporary place. A listing with sizes is one call, as it is for a remote store; on a local disk the system
looks at each entry of the directory for it.

The calls are counted twice: those of the engine's file system, by a subclass; and from outside, all that Python asks of
paths in the store, so that nothing goes around it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chain import Law

BRANCHES = 1000
MOST_FOR_STATUS = 5
MOST_FOR_BRANCH = 10
MOST_CHANGES = 16
"""Lock (4: written, linked, one name removed, then the other), output (2), manifest (2), old manifest (3, with the
folder of the history), and some to spare for what Python does to make a folder."""


@dataclass(frozen=True)
class Calls:
    """Calls of one ``law run``: kind and path relative to the folder of the version."""

    asked: list[tuple[str, str]]
    seen: list[tuple[str, str]]
    out: str

    @property
    def questions(self) -> list[tuple[str, str]]:
        """All that counts."""
        return [(kind, path) for kind, path in self.seen if kind != "write" and not _is_physics(path)]

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What was written, renamed or removed."""
        return [(kind, path) for kind, path in self.seen if kind == "write"]


def _is_physics(path: str) -> bool:
    """Whether this is what the branch itself reads or writes: a finished number, or one in its temporary place."""
    name = Path(path).name
    return name.startswith("number_") or (name.startswith(".number_") and name.endswith(".part"))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Law:
    """A store in which all branches are done."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "home").mkdir()
    law = Law(folder / "store", folder / "home")
    count(law, "Squares")
    return law


@pytest.fixture
def law(full: Law, tmp_path: Path) -> Law:
    """A copy of it."""
    shutil.copytree(full.store, tmp_path / "store")
    return Law(tmp_path / "store", full.home)


def count(law: Law, *arguments: str) -> Calls:
    """Calls of ``law run`` of a task of :mod:`tests.engine.counted`, from start to exit."""
    family, *others = arguments
    report = law.store.parent / "calls.json"
    code = "from tests.engine.counted import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", code, str(report), "run", f"tests.engine.counted.{family}", *others],
        env=law.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    content = json.loads(report.read_text())
    asked, seen = (
        [(kind, Path(path).relative_to(law.store / "v1").as_posix()) for kind, path in content[key] if "/v1/" in path]
        for key in ("asked", "seen")
    )
    return Calls(asked, seen, finished.stdout)


def lose(law: Law, family: str, branch: int, what: str) -> None:
    """Make a branch missing."""
    folder = law.store / "v1" / family
    if what in {"output", "both"}:
        (folder / f"number_{branch}.txt").unlink()
    if what in {"manifest", "both"}:
        (found,) = (folder / "manifests").glob(f"{branch}.*")
        found.unlink()


@pytest.mark.parametrize(("family", "workflows"), [("Numbers", 1), ("Squares", 2)])
def test_status_takes_two_listings_per_workflow(full: Law, family: str, workflows: int) -> None:
    calls = count(full, family, "--print-status")
    assert f"{workflows * BRANCHES} current, 0 stale, 0 missing" in calls.out
    folders = [("list", f"{name}{sub}") for name in ("Numbers", "Squares") for sub in ("", "/manifests")]
    assert sorted(calls.seen) == folders[: 2 * workflows]
    assert len(calls.seen) <= MOST_FOR_STATUS
    assert sorted(calls.asked) == sorted(calls.seen)


def test_status_of_incomplete_workflow_takes_as_many(law: Law) -> None:
    for branch, what in ((3, "output"), (500, "manifest"), (999, "both")):
        lose(law, "Squares", branch, what)
    calls = count(law, "Squares", "--print-status")
    assert "1997 current, 0 stale, 3 missing" in calls.out
    assert {kind for kind, _ in calls.seen} == {"list"}
    assert len(calls.seen) <= MOST_FOR_STATUS


@pytest.mark.parametrize("family", ["Numbers", "Squares"])
def test_nothing_to_do_takes_two_listings(full: Law, family: str) -> None:
    calls = count(full, family)
    assert sorted(calls.seen) == [("list", family), ("list", f"{family}/manifests")]


@pytest.mark.parametrize("what", ["output", "manifest", "both"])
@pytest.mark.parametrize("family", ["Numbers", "Squares"])
def test_one_missing_branch(law: Law, family: str, what: str) -> None:
    lose(law, family, 500, what)
    calls = count(law, family)
    assert (law.store / "v1" / family / "number_500.txt").read_text() == str(500 ** (1 if family == "Numbers" else 2))
    assert len(list((law.store / "v1" / family / "manifests").glob("500.*"))) == 1
    assert len(calls.questions) <= MOST_FOR_BRANCH, calls.questions
    assert "stat" not in {kind for kind, _ in calls.questions}
    assert len(calls.changes) <= MOST_CHANGES, calls.changes


def test_engine_asks_through_its_file_system_only(law: Law) -> None:
    lose(law, "Squares", 500, "both")
    calls = count(law, "Squares")
    asked = sorted(call for call in calls.asked if call[0] != "write")
    # locks are files of their own kind: they live by links and processes of a mounted file system
    assert asked == sorted(call for call in calls.questions if not call[1].endswith(".lock"))


def test_missing_branches_of_two_workflows_take_twice_as_many_at_most(law: Law) -> None:
    """The run of ``Numbers`` made the state before the run out of date for ``Squares``."""
    lose(law, "Numbers", 500, "both")
    lose(law, "Squares", 500, "both")
    calls = count(law, "Squares")
    assert len(calls.questions) <= 2 * MOST_FOR_BRANCH, calls.questions


def test_questions_do_not_grow_with_the_branches(law: Law) -> None:
    """Each takes three looks at its lock, a listing of the manifests of now, and its input's manifest."""
    few, many = 10, 60
    for branch in range(few):
        lose(law, "Squares", branch, "both")
    first = len(count(law, "Squares").questions)
    for branch in range(many):
        lose(law, "Squares", branch, "both")
    second = len(count(law, "Squares").questions)
    assert second - first <= 5 * (many - few)


def test_counting_sees_what_goes_around(tmp_path: Path) -> None:
    """The counter itself: each way to look at a file or directory is one call."""
    code = """
import os, sys
from pathlib import Path
from tests.engine import counted
store = Path(sys.argv[1])
counted.watch(store)
for look in (
    lambda: (store / "a").exists(), lambda: (store / "a").is_file(), lambda: os.path.exists(store / "a"),
    lambda: os.access(store / "a", os.R_OK), lambda: (store / "b").lstat(), lambda: os.path.getsize(store / "b"),
    lambda: os.listdir(store), lambda: list(os.scandir(store)), lambda: list(store.iterdir()),
    lambda: list(store.glob("*.x")), lambda: (store / "b").read_text(), lambda: os.close(os.open(store / "b", 0)),
):
    counted.seen.clear()
    look()
    print(len(counted.seen), {kind for kind, _ in counted.seen})
"""
    (tmp_path / "b").write_text("x")
    law = Law(tmp_path, tmp_path)
    finished = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=law.environment(), capture_output=True, text=True, check=True
    )
    lines = finished.stdout.splitlines()
    assert lines[:6] == ["1 {'stat'}"] * 6
    assert lines[6:9] == ["1 {'list'}"] * 3
    assert "list" in lines[9]
    assert lines[10:] == ["1 {'open'}"] * 2
