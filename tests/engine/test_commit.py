from __future__ import annotations

import errno
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import law
import luigi
import pytest
from luigi.cmdline_parser import CmdlineParser

from analysis.engine import lock
from analysis.engine.commit import store_errors
from analysis.engine.errors import (
    ManifestError,
    OutputError,
    ParameterError,
    RequirementError,
    SettingError,
    StoreError,
)
from analysis.engine.leftovers import lock_path
from analysis.engine.snapshot import Snapshot
from analysis.engine.task import AnalysisTask
from tests.engine.toy_chain import KNOB, Turn, contents, manifest_path, states

Action = Callable[[Any], None]


class Write(AnalysisTask):
    """Does what a test tells it to do."""

    number = luigi.IntParameter(default=1)
    action: Action
    setting = 1

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, int]:  # noqa: ARG002
        return {"setting": type(self).setting}

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        return {"a": self.target("a.txt"), "b": self.target("b.txt")}

    def run(self) -> None:
        type(self).action(self)


def write_both(task: Write) -> None:
    task.staged(task.output()["a"]).write_text("first")
    task.staged(task.output()["b"]).write_text("second")
    task.account(events_in=5, events_out=3)


@pytest.fixture(autouse=True)
def first_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Write, "setting", 1)


def run(action: Action, **parameters: Any) -> Write:
    Write.action = staticmethod(action)
    task = Write(**parameters)
    task.run()
    return task


def files(store: Path) -> set[str]:
    """All files, manifests by their branch."""
    found = {path.relative_to(store) for path in store.rglob("*") if path.is_file()}
    return {str(p.with_name(p.name.partition(".")[0]) if p.parent.name == "manifests" else p) for p in found}


def test_outputs_and_manifest_appear_together(store: Path) -> None:
    task = run(write_both)
    assert task.complete()
    assert files(store) == {"v1/Write/a.txt", "v1/Write/b.txt", "v1/Write/manifests/task"}
    manifest = task.manifest()
    assert [(o.path, o.size) for o in manifest.outputs] == [("v1/Write/a.txt", 5), ("v1/Write/b.txt", 6)]
    assert manifest.accounting == {"events_in": 5, "events_out": 3}
    assert manifest.parameters == {"version": "v1", "number": "1"}
    assert manifest.recipe == Snapshot().recipes.recipe(task)
    assert manifest.provenance["host"] == socket.gethostname()
    assert manifest.resources["peak_memory_bytes"] > 1e6


def test_parameter_that_is_not_default_is_a_folder(store: Path) -> None:
    run(write_both, number=7)
    assert "v1/Write/number_7/a.txt" in files(store)


def test_parameter_of_the_command_line_is_a_folder(store: Path) -> None:
    with CmdlineParser.global_instance(["Write", "--number", "7"]) as parser:
        task = parser.get_task_obj()
        assert task.number == 7
        assert task.folder == store / "v1/Write/number_7"


@pytest.mark.parametrize("version", ["..", "", ".", "a/b", "/tmp", "a b"])
def test_version_that_is_no_folder(version: str) -> None:
    with pytest.raises(ParameterError, match="cannot be the name of a folder"):
        Write(version=version)


def test_missing_output_fails_and_keeps_nothing(store: Path) -> None:
    with pytest.raises(OutputError, match=r"did not write .*b\.txt"):
        run(lambda task: task.staged(task.output()["a"]).write_text("first"))
    assert files(store) == set()
    assert not Write().complete()


def test_empty_output_fails(store: Path) -> None:
    def write_nothing(task: Write) -> None:
        write_both(task)
        task.staged(task.output()["b"]).write_text("")

    with pytest.raises(OutputError, match="zero bytes"):
        run(write_nothing)
    assert files(store) == set()


def test_output_that_was_not_promised_fails(store: Path) -> None:
    with pytest.raises(OutputError, match="does not name"):
        run(lambda task: task.staged(task.target("c.txt")).write_text("x"))
    assert files(store) == set()


def test_exception_in_run_keeps_nothing(store: Path) -> None:
    def fail(task: Write) -> None:
        write_both(task)
        msg = "in the middle"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="in the middle"):
        run(fail)
    assert files(store) == set()


@pytest.mark.parametrize("failure", ["nothing", "exception", "interrupt"])
def test_failed_rerun_leaves_the_old_outputs_stale(store: Path, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    run(write_both)
    before = contents(store)
    monkeypatch.setattr(Write, "setting", 2)
    assert states(Write()) == "s"

    def fail(task: Write) -> None:
        task.staged(task.output()["a"]).write_text("half")
        if failure == "exception":
            raise ZeroDivisionError
        if failure == "interrupt":
            raise KeyboardInterrupt

    with pytest.raises((OutputError, ZeroDivisionError, KeyboardInterrupt)):
        run(fail)
    assert contents(store) == before
    assert states(Write()) == "s"
    monkeypatch.setattr(Write, "setting", 1)
    assert states(Write()) == "c"


def test_rerun_replaces_outputs_and_keeps_the_old_manifest_in_the_history(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = manifest_path(run(write_both)).read_bytes()
    monkeypatch.setattr(Write, "setting", 2)

    def write_more(task: Write) -> None:
        write_both(task)
        task.staged(task.output()["a"]).write_text("first and more")

    task = run(write_more)
    assert task.complete()
    assert (store / "v1/Write/a.txt").read_text() == "first and more"
    assert len(list((store / "v1/Write/manifests").glob("*.json"))) == 1
    assert [path.read_bytes() for path in (store / "v1/Write/history").iterdir()] == [old]


def test_current_outputs_are_not_made_again(store: Path) -> None:
    run(write_both)
    before = contents(store)
    run(lambda _task: pytest.fail("it ran"))
    assert contents(store) == before


def test_outputs_that_another_process_made_meanwhile_are_not_made_again(store: Path) -> None:
    task, looked = Write(), Snapshot()
    assert not looked.is_complete(task)
    run(write_both)
    before = contents(store)
    task.snapshot = looked
    try:
        run(lambda _task: pytest.fail("it ran"))
    finally:
        task.snapshot = None
    assert contents(store) == before


def test_lock_that_was_lost_in_a_long_pause_keeps_nothing(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pause(task: Write) -> None:
        write_both(task)
        lock_path(store / "v1" / "Write", None).unlink()  # by whoever took it for stale
        monkeypatch.setattr(lock, "_since_boot", lambda: 1e12)

    with pytest.raises(StoreError, match=r"^Write was paused for so long that another run took it over: nothing was"):
        run(pause)
    assert files(store) == set()


def test_run_removes_what_a_dead_process_left(store: Path) -> None:
    folder = store / "v1/Write"
    folder.mkdir(parents=True)
    process = os.fork()
    if not process:
        os._exit(0)
    os.waitpid(process, 0)
    dead = folder / f".a.txt.{socket.gethostname()}-{process}.part"
    elsewhere = folder / ".a.txt.another.host-12.part"
    dead.write_text("half")
    elsewhere.write_text("half")
    run(write_both)
    assert not dead.exists()
    assert elsewhere.exists()


@pytest.mark.parametrize("damage", ["delete", "truncate", "manifest"])
def test_damaged_outputs_are_not_complete(store: Path, damage: str) -> None:
    task = run(write_both)
    if damage == "delete":
        (store / "v1/Write/a.txt").unlink()
    elif damage == "truncate":
        (store / "v1/Write/a.txt").write_text("fir")
    else:
        manifest_path(task).write_text("{")
    assert not task.complete()
    with pytest.raises(ManifestError, match="has no manifest"):
        task.manifest()
    assert run(write_both).complete()
    assert (store / "v1/Write/a.txt").read_text() == "first"


def test_store_can_be_moved(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(write_both)
    moved = store.with_name("moved")
    store.rename(moved)
    assert not Write().complete()
    monkeypatch.setenv("ANALYSIS_STORE", str(moved))
    assert Write().complete()


@pytest.mark.usefixtures("store")
def test_warnings_are_recorded_once() -> None:
    def warn(task: Write) -> None:
        for _ in range(3):
            warnings.warn("careful", UserWarning, stacklevel=1)
        write_both(task)

    assert run(warn).manifest().warnings == ("UserWarning: careful",)


@pytest.mark.usefixtures("store")
def test_staging_outside_run_is_a_bug() -> None:
    with pytest.raises(RuntimeError, match="only be called in run"):
        Write().staged(Write().output()["a"])


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "free some space"), (errno.EACCES, "make it writable"), (errno.EIO, "another place")],
)
def test_errors_of_the_store_say_what_to_do(code: int, words: str) -> None:
    with pytest.raises(StoreError, match=words), store_errors(Path("/store")):
        raise OSError(code, os.strerror(code))


@pytest.mark.usefixtures("store")
def test_other_errors_in_run_are_not_blamed_on_the_store() -> None:
    with pytest.raises(FileNotFoundError):
        run(lambda _task: Path("/nowhere/at/all").unlink())


def test_full_disk_is_named(store: Path) -> None:
    def fill(task: Write) -> None:
        task.staged(task.output()["a"]).write_text("first")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreError, match="free some space"):
        run(fill)
    assert files(store) == set()


# settings that configuration() does not declare


@pytest.mark.usefixtures("world")
def test_setting_that_is_declared_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    Turn().run()
    assert Turn().manifest().recipe.settings == {"Knob volume.value": 1}
    monkeypatch.setattr("tests.engine.toy_chain.KNOB", replace(KNOB, value=2))
    assert states(Turn()) == "s"
    Turn().run()
    monkeypatch.setattr("tests.engine.toy_chain.KNOB", replace(KNOB, value=2, other=7))
    assert states(Turn()) == "c"


@pytest.mark.usefixtures("world")
def test_setting_that_is_not_declared_stops_the_task_and_nothing_is_kept(store: Path) -> None:
    with pytest.raises(
        SettingError,
        match=r"^Turn reads .*Knob volume\.other, which its configuration\(\) does not declare: add it there",
    ):
        Turn(number=2).run()
    assert files(store) == set()
    assert states(Turn(number=2)) == "m"


@pytest.mark.usefixtures("world")
def test_plumbing_may_read_any_setting() -> None:
    class Look(Turn):
        def output(self) -> law.FileSystemFileTarget:
            return self.target(f"turned_{KNOB.other}.txt")

    Look().run()
    assert states(Look()) == "c"


class Reads(AnalysisTask):
    """Reads the outputs of a task that it requires, or does not."""

    requires_it = luigi.BoolParameter(default=False)

    def requires(self) -> list[Write]:
        return [Write.req(self)] if self.requires_it else []

    def output(self) -> law.FileSystemFileTarget:
        return self.target("copy.txt")

    def run(self) -> None:
        self.staged(self.output()).write_text(Path(Write.req(self).output()["a"].path).read_text())


@pytest.mark.usefixtures("store")
def test_outputs_of_required_tasks_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Write, "action", staticmethod(write_both), raising=False)
    Write().run()
    task = Reads(requires_it=True)
    task.run()
    assert Path(task.output().path).read_text() == "first"


@pytest.mark.usefixtures("store")
def test_outputs_of_other_tasks_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Write, "action", staticmethod(write_both), raising=False)
    Write().run()
    task = Reads()
    sentence = r"^Reads reads outputs of Write, which its requires\(\) does not name: add it there$"
    with pytest.raises(RequirementError, match=sentence):
        task.run()
    assert not Path(task.output().path).exists()
    assert Write().complete()


def test_dynamic_dependencies_are_refused() -> None:
    """They would be run, and the outputs of this task forgotten."""
    with pytest.raises(TypeError, match=r"Dynamic.run\(\) yields tasks, which cannot be committed: name them in req"):

        class Dynamic(AnalysisTask):
            def run(self) -> Iterator[AnalysisTask]:
                yield self
