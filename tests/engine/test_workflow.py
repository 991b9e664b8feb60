from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import law
import pytest
from law.task import proxy

from analysis.engine.branches import run_branches
from analysis.engine.errors import ParameterError
from analysis.engine.workflow import MAY_BE_OF_PROXY, AnalysisWorkflow
from tests.engine.toy_chain import Sum


class Square(AnalysisWorkflow):
    """Squares of the first numbers."""

    def create_branch_map(self) -> dict[int, int]:
        return {i: i for i in range(20)}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"square_{self.branch}.txt")

    def run(self) -> None:
        self.staged(self.output()).write_text(str(self.branch_data**2))


def test_branches_commit_one_by_one(store: Path) -> None:
    workflow = Square()
    for branch in range(20):
        assert not workflow.complete()
        task = Square(branch=branch)
        assert not task.complete()
        task.run()
        assert task.complete()
        assert task.manifest().branch == branch
    assert workflow.complete()
    (store / "v1/Square/square_7.txt").unlink()
    assert not workflow.complete()
    assert Square(branch=6).complete()


def test_state_of_all_branches_takes_two_listings(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for branch in range(20):
        Square(branch=branch).run()
    listed: list[str] = []
    scandir = os.scandir

    def count(path: str) -> object:
        listed.append(str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", count)
    assert Square().complete()
    assert sorted(listed) == [str(store / "v1/Square"), str(store / "v1/Square/manifests")]


@pytest.mark.usefixtures("store")
def test_branch_outside_the_range() -> None:
    with pytest.raises(ParameterError, match="has no branch 20: its branches are 0 to 19"):
        Square(branch=20).branch_data  # noqa: B018


def test_unknown_workflow_type() -> None:
    with pytest.raises(ParameterError, match="--workflow htcondorr does not exist"):
        Square(workflow="htcondorr")


class Needy(Square):
    """Requires more where its branches run locally."""

    def workflow_requires(self) -> dict[str, law.Task]:
        return {"always": Sum.req(self)}

    def local_workflow_requires(self) -> dict[str, law.Task]:
        return {"locally": Sum.req(self)}


@pytest.mark.usefixtures("world")
def test_what_a_workflow_requires_where_its_branches_run_locally(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(Needy().requires()) == {"always", "locally"}
    assert set(Needy(workflow="htcondor").requires()) == {"always"}
    monkeypatch.setattr(Needy, "local_workflow_require_branches", True)
    assert list(Needy().requires()["branches"]) == list(range(20))


def test_a_local_run_starts_no_process_beside_it(store: Path) -> None:
    """Such as those in which law and luigi keep what processes share: each takes a fifth of a second."""
    code = (
        "import multiprocessing, sys, tests.engine.test_workflow as tests;"
        "sys.addaudithook(lambda event, _: print(event) if event in ('os.fork', 'subprocess.Popen') else None);"
        "tests.Square().run_chain(); print(multiprocessing.active_children())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "[]"
    assert "os.fork" not in found.stdout
    assert (store / "v1/Square/square_3.txt").read_text() == "9"


def test_run_chain_returns_the_complete_task(store: Path) -> None:
    assert Square().run_chain().complete()
    assert (store / "v1/Square/square_3.txt").read_text() == "9"


@pytest.mark.usefixtures("store")
def test_some_branches_of_a_workflow() -> None:
    part = Square(branches="3:5,8")
    run_branches(part)
    assert part.complete()
    assert [branch for branch in range(20) if Square(branch=branch).complete()] == [3, 4, 8]
    assert not Square().complete()
    assert list(part.branch_numbers()) == [3, 4, 8]


@pytest.mark.usefixtures("store")
def test_branches_and_their_workflow_are_told_apart() -> None:
    workflow, branch = Square(), Square(branch=3)
    assert [t.key for t in (workflow, branch)] == ["v1/Square#", "v1/Square#3"]
    assert len({t.key for t in (*workflow.branch_tasks(), workflow, Square(branches="3:5"))}) == 22
    assert (workflow.is_whole_workflow(), branch.is_whole_workflow()) == (True, False)
    assert (workflow.branch_number, branch.branch_number) == (None, 3)
    assert branch.whole() is workflow
    assert workflow.branch_task(3) is branch
    assert workflow.folder == branch.folder
    assert [task.title() for task in (workflow, branch)] == ["Square", "Square branch 3"]


@pytest.mark.usefixtures("world")
def test_task_without_branches_has_none() -> None:
    task = Sum()
    assert (list(task.branch_tasks()), task.branch_numbers(), task.whole()) == ([task], [], task)
    with pytest.raises(ParameterError, match=r"^Sum has no branches, so no branch 1$"):
        task.branch_task(1)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("asked", "text"),
    [("20", "20"), ("3,20", "20"), ("-1", "-1"), ("20:30", "20:30"), ("40:,3", "40:"), ("3:3", "3:3")],
)
def test_branches_that_are_not_there(asked: str, text: str) -> None:
    with pytest.raises(ParameterError, match=f"has no branches {text} \\(--branches\\): its branches are 0 to 19"):
        Square(branches=asked).check()


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("asked", "numbers"), [("18:30", [18, 19]), (":2", [0, 1]), ("0,19", [0, 19]), ("0:99", list(range(20)))]
)
def test_ranges_end_with_the_branches(asked: str, numbers: list[int]) -> None:
    part = Square(branches=asked)
    assert part.branch_numbers() == numbers


@pytest.mark.usefixtures("store")
def test_all_branches_are_known_to_a_part() -> None:
    part = Square(branches="3:5")
    for _ in range(2):
        assert part.all_branch_numbers() == list(range(20))
        assert part.branch_numbers() == [3, 4]


@pytest.mark.parametrize("place", ["/data/$USER/store", "/data/${USER}"])
def test_store_with_a_variable_in_its_path(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which law would replace, and we would not."""
    monkeypatch.setenv("ANALYSIS_STORE", place)
    with pytest.raises(ParameterError, match=r"choose a place without \$ in its path"):
        _ = Square().store


def test_attributes_that_law_takes_from_elsewhere_are_known() -> None:
    """Others are looked up without law: a release of it that forwards more is not to go unnoticed."""
    assert proxy._forward_workflow_attributes | proxy._forward_sandbox_attributes <= MAY_BE_OF_PROXY
