from __future__ import annotations

import logging
import multiprocessing
import os
import select
import signal
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkProcess
from pathlib import Path

import pytest

from analysis.engine import slots
from analysis.engine.branches import Told, run_branches
from analysis.engine.errors import BranchesError, OutputError
from tests.engine.toy_chain import WORLD, Count, Read, Sum, World, make, manifest_path, states

pytestmark = pytest.mark.usefixtures("world")

PATIENCE = 60.0
"""How long [s] a process waits for the other one; only a test that fails takes that long."""

_fork = multiprocessing.get_context("fork")


class Gate:
    """Keeps a process until another one opens it."""

    def __init__(self) -> None:
        self._out, self._in = os.pipe()

    def open(self) -> None:
        os.write(self._in, b"x")

    def wait(self) -> None:
        ready, _, _ = select.select([self._out], [], [], PATIENCE)
        assert ready, "nobody opened the gate"
        os.read(self._out, 1)


@pytest.fixture
def two_workers() -> Iterator[None]:
    slots.configure(2)
    yield
    slots.configure(1)


def fail_in(*branches: int, error: Callable[[int], Exception]) -> Callable[[Read], None]:
    def hook(task: Read) -> None:
        if task.branch in branches:
            raise error(task.branch)

    return hook


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


def test_only_what_is_not_current_runs(world: World) -> None:
    run_branches(Read())
    assert world.ran == ["Read branch 0", "Read branch 1", "Read branch 2"]
    (Path(Read().folder) / "read_1.txt").unlink()
    world.identities[2] = "another uuid"
    run_branches(Read())
    assert world.ran[3:] == ["Read branch 1", "Read branch 2"]
    run_branches(Read())
    assert len(world.ran) == 5


def test_failures_do_not_stop_the_others_and_are_told_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.branches = dict.fromkeys(range(20), "x")
    world.hooks["Read"] = fail_in(*range(3, 18), error=lambda _b: OutputError("no column: add it"))
    with pytest.raises(
        BranchesError,
        match=r"^15 of 20 branches failed \(3, 4, 5, 6, 7, 8, 9, 10, 11, 12, \.\.\.\): OutputError: no column: add it$",
    ):
        run_branches(Read())
    assert len(world.ran) == 20
    assert states(Read()) == f"ccc{'m' * 15}cc"
    assert errors(caplog) == ["Read branch 3: OutputError: no column: add it"]


def test_different_failures_are_all_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.hooks["Read"] = fail_in(0, 2, error=lambda branch: ValueError(f"bug {branch}"))
    with pytest.raises(BranchesError, match=r"^2 of 3 branches failed \(0, 2\): ValueError: bug 0; ValueError: bug 2$"):
        run_branches(Read())
    assert len(errors(caplog)) == 2
    assert all(record.exc_info for record in caplog.records if record.levelno >= logging.ERROR)
    assert states(Read()) == "mcm"


def test_failed_branches_run_again_and_only_these(world: World) -> None:
    world.hooks["Read"] = fail_in(1, error=lambda _b: OutputError("no"))
    with pytest.raises(BranchesError):
        run_branches(Read())
    del world.hooks["Read"]
    assert make(Read()) == ["Read branch 1"]


def test_interrupt_is_no_failure_of_a_branch(world: World) -> None:
    def interrupt(task: Read) -> None:
        if task.branch == 1:
            raise KeyboardInterrupt

    world.hooks["Read"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        run_branches(Read())
    assert states(Read()) == "cmm"
    del world.hooks["Read"]
    assert make(Read()) == ["Read branch 1", "Read branch 2"]


def test_branch_without_its_input_is_named(world: World) -> None:
    world.hooks["Read"] = fail_in(1, error=lambda _b: OutputError("no"))
    with pytest.raises(BranchesError):
        run_branches(Read())
    with pytest.raises(BranchesError, match=r"^1 of 3 branches failed \(1\): FileNotFoundError"):
        run_branches(Count())
    assert states(Count()) == "cmc"


def meet(world: World, then: Callable[[Read], None]) -> None:
    """Let the first two branches wait for each other, and go on only if both of them run at the same time."""
    main, gates = os.getpid(), (Gate(), Gate())

    def hook(task: Read) -> None:
        assert os.getpid() != main, "with two workers, branches run in helpers"
        if task.branch < 2:
            gates[task.branch].open()
            gates[1 - task.branch].wait()
        then(task)

    world.hooks["Read"] = hook


@pytest.mark.usefixtures("two_workers")
def test_two_workers_run_two_branches_at_the_same_time(world: World) -> None:
    world.branches = dict.fromkeys(range(7), "x")
    meet(world, lambda _task: None)
    run_branches(Read())
    assert states(Read()) == "c" * 7
    assert len(list((Path(Read().folder) / "manifests").glob("*.json"))) == 7


@pytest.mark.usefixtures("two_workers")
def test_failures_in_helpers_are_reported(world: World) -> None:
    meet(world, fail_in(0, 2, error=lambda branch: OutputError(f"bug {branch}")))
    with pytest.raises(
        BranchesError, match=r"^2 of 3 branches failed \(0, 2\): OutputError: bug \d; OutputError: bug \d$"
    ):
        run_branches(Read())
    assert states(Read()) == "mcm"


def test_what_one_process_told_is_not_new_to_another() -> None:
    told = Told()
    child = os.fork()
    if child == 0:
        os._exit(0 if told.is_new("one bug") else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not told.is_new("one bug")
    assert told.is_new("another bug")


@pytest.mark.usefixtures("two_workers")
@pytest.mark.parametrize("victims", [{0}, {3}, {0, 1}, set(range(6))])
def test_helper_that_is_killed_loses_the_branch_it_was_at(world: World, victims: set[int]) -> None:
    world.branches = dict.fromkeys(range(6), "x")

    def die(task: Read) -> None:
        if task.branch in victims:
            task.staged(task.output()).write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

    meet(world, die)
    with pytest.raises(BranchesError) as error:
        run_branches(Read())
    numbers = ", ".join(map(str, sorted(victims)))
    assert str(error.value).startswith(f"{len(victims)} of 6 branches failed ({numbers}): a process that ran ")
    assert states(Read()) == "".join("m" if b in victims else "c" for b in range(6))
    world.hooks.clear()
    slots.configure(1)
    assert make(Read()) == [f"Read branch {victim}" for victim in sorted(victims)]
    assert {(Path(Read().folder) / f"read_{b}.txt").read_text() for b in range(6)} == {"content x"}
    assert list(Path(Read().folder).glob(".*")) == []


@pytest.mark.usefixtures("two_workers")
def test_killed_helper_is_told_beside_other_failures(world: World) -> None:
    def mixed(task: Read) -> None:
        if task.branch == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        msg = "a bug"
        raise ValueError(msg)

    meet(world, mixed)
    with pytest.raises(BranchesError, match=r"^3 of 3 branches failed \(0, 1, 2\): .*killed.*a bug|a bug.*killed"):
        run_branches(Read())


def other_process(branch: int, end: Callable[[], None]) -> tuple[ForkProcess, Gate]:
    """Another process that runs a branch, and is in the middle of it when this returns.

    Returns:
        The process; the gate that lets it end.
    """
    begun, go = Gate(), Gate()

    def work() -> None:
        def hook(_task: Read) -> None:
            begun.open()
            go.wait()
            end()

        WORLD.hooks["Read"] = hook
        Read(branch=branch).run()

    process = _fork.Process(target=work)
    process.start()
    begun.wait()
    return process, go


def test_branch_that_another_process_finishes_is_left_to_it(world: World) -> None:
    process, go = other_process(1, end=lambda: None)
    world.hooks["Read"] = lambda task: go.open() if task.branch == 2 else None
    run_branches(Read())
    process.join(PATIENCE)
    assert process.exitcode == 0
    assert world.ran == ["Read branch 0", "Read branch 2"]
    assert states(Read()) == "ccc"
    assert len(list((Path(Read().folder) / "manifests").glob("1.*"))) == 1
    assert not (Path(Read().folder) / "history").exists()


def test_branch_that_another_process_gives_up_is_run_last(world: World) -> None:
    process, go = other_process(0, end=lambda: os.kill(os.getpid(), signal.SIGKILL))
    world.hooks["Read"] = lambda task: go.open() if task.branch == 2 else None
    run_branches(Read())
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL
    assert world.ran == ["Read branch 1", "Read branch 2", "Read branch 0"]
    assert states(Read()) == "ccc"


def test_task_without_branches_waits_for_the_other_process(world: World) -> None:
    process, go = other_process(1, end=lambda: None)
    go.open()
    Read(branch=1).run()
    process.join(PATIENCE)
    assert world.ran == []
    assert manifest_path(Read(branch=1)).is_file()


def test_branches_forget_the_snapshot_of_their_run() -> None:
    make(Sum())
    assert [(b.snapshot, b.waits_for_others) for b in Read().branch_tasks()] == [(None, True)] * 3
