"""Tasks in a sandbox: what they see, what comes out, and that nothing is left."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.engine.sandboxes.runs import SOON, Box, until


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A script that sets a variable."""
    script = tmp_path / "a script.sh"
    script.write_text('export FROM_SCRIPT="$# arguments"\n')
    return Box(tmp_path, f"bash::{script}")


def test_it_runs_there(box: Box) -> None:
    seen = box.seen()
    assert seen["sandbox"] == box.sandbox
    assert seen["variables"]["FROM_SCRIPT"] == "0 arguments"


def test_a_workflow_starts_it_once(box: Box) -> None:
    box.succeed("SandboxToys", "--what", "see+see+see")
    seen = [json.loads(path.read_text()) for path in box.store.rglob("seen_*.json")]
    assert len(seen) == 3
    assert len({found["pid"] for found in seen}) == 1


def test_tasks_share_it(box: Box) -> None:
    """Law starts one for each task. Each has a process of its own, and nothing of the one before."""
    box.succeed("SandboxPair")
    seen = [json.loads(path.read_text()) for path in box.store.rglob("seen.json")]
    assert len({found["pid"] for found in seen}) == 2
    assert len({found["parent"] for found in seen}) == 1
    assert [found["variables"].get("LEFT_BEHIND") for found in seen] == [None, None]


def test_what_tasks_import_is_loaded_once(box: Box) -> None:
    """Before they are forked; not for the first one, which looks whether all is there."""
    box.succeed("SandboxPair")
    seen = {path.parent.parent.name: json.loads(path.read_text()) for path in box.store.rglob("seen.json")}
    assert {name: found["loaded"] for name, found in seen.items()} == {"SandboxToy": False, "SandboxPair": True}


def test_processes_share_it(box: Box) -> None:
    """Luigi has one for each task if there are several workers."""
    box.succeed("SandboxPair", "--workers", "2")
    seen = [json.loads(path.read_text()) for path in box.store.rglob("seen.json")]
    assert len({found["parent"] for found in seen}) == 1


def test_tasks_with_other_variables_have_another(box: Box) -> None:
    box.succeed("SandboxPair", "--variable", "secret")
    seen = [json.loads(path.read_text()) for path in box.store.rglob("seen.json")]
    assert len({found["parent"] for found in seen}) == 2
    assert sorted(found["variables"].get("OF_A_TASK", "") for found in seen) == ["", "secret"]


def test_it_is_no_part_of_paths(box: Box) -> None:
    """A sandbox with other software makes other outputs; which one it was is in the manifest."""
    box.succeed("SandboxToy")
    manifest = json.loads(next(box.store.rglob("manifests/*.json")).read_text())
    assert manifest["provenance"]["sandbox"] == box.sandbox
    assert list(manifest["recipe"]["sandbox"]) == [box.sandbox]
    assert "1 current" in box.succeed("SandboxToy", "--print-status", "0")


def test_variables_are_not_expanded(box: Box) -> None:
    """Defect 2 of law: quotes vanish, and backticks are executed."""
    value = """{"a": "`touch oops`", 'b': $HOME \\ }"""
    box.variables["ANALYSIS_ODD"] = value
    assert box.seen()["variables"]["ANALYSIS_ODD"] == value


def test_output_is_shown(box: Box) -> None:
    said = box.succeed("SandboxToy", "--what", "print")
    assert "to standard output" in said
    assert "to standard error" in said


ERRORS = [
    ("value", "ValueError: a value\nthat is `bad`\n"),
    ("ours", "SandboxToy ours: OutputError: an output: make it\n"),
    ("odd", "InsideError: OddError: 1 is odd, 2 is not\n"),
    ("exit", "InsideError: SystemExit: 0\n"),
    ("die", "ended without an answer (exit code 0)"),
]


@pytest.mark.parametrize(("what", "sentence"), ERRORS)
def test_errors_cross(box: Box, what: str, sentence: str) -> None:
    """Defect 5 of law: only an exit code crosses."""
    said = box.fail("SandboxToy", "--what", what)
    assert sentence in said
    if what in {"value", "odd", "exit"}:
        assert f"in do_{what}" in said


def test_a_failed_branch_is_named(box: Box) -> None:
    said = box.fail("SandboxToys", "--what", "see+value+see")
    assert "BranchesError: 1 of 3 branches failed (1): ValueError: a value" in said
    assert len(list(box.store.rglob("seen_*.json"))) == 2


def test_a_script_that_fails(box: Box, tmp_path: Path) -> None:
    (tmp_path / "a script.sh").write_text("return 3\n")
    assert "ended without an answer (its script failed)" in box.fail("SandboxToy")


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    box = Box(tmp_path, "bash::/nowhere/script.sh")
    finished = box.law("SandboxToy")
    assert finished.returncode != 0
    assert "bash::/nowhere/script.sh: /nowhere/script.sh cannot be read" in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP], ids=lambda number: number.name
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_nothing_is_left(box: Box, number: signal.Signals, workers: str) -> None:
    """Defect 4 of law: what runs inside goes on, and writes its outputs later."""
    with box.waiting("SandboxToys", "wait+wait", "--workers", workers) as run:
        # the first one inside, that of each task with its child, and a process of luigi for the second worker
        assert len(run.left()) >= 3 * int(workers)
        os.kill(run.process.pid, number)
        assert until(lambda: not run.left(), SOON), run.left()
    assert not list(box.store.rglob("seen_*.json"))


def test_nothing_is_left_if_the_first_process_inside_is_killed(box: Box) -> None:
    with box.waiting("SandboxToy", "wait") as run:
        first = next(pid for pid in run.others if b"inside.py" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(first, signal.SIGKILL)
        assert run.process.wait(SOON) == 30
    assert "ended without an answer" in (box.folder / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_no_directory_is_left(box: Box, number: signal.Signals, tmp_path: Path) -> None:
    """Nor are there secrets in it while the task runs."""
    (tmp_path / "tmp").mkdir()
    box.variables.update(TMPDIR=str(tmp_path / "tmp"), LAW__bash_sandbox_env__TOKEN="secret")

    def directories() -> list[Path]:
        return list((tmp_path / "tmp").glob("analysis-*-sandbox_*"))

    with box.waiting("SandboxToy", "wait") as run:
        (directory,) = directories()
        assert not [path for path in directory.rglob("*") if path.is_file() and "secret" in path.read_text()]
        os.kill(run.process.pid, number)
        assert until(lambda: not directories(), SOON)
