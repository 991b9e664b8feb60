from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.residue import staged_directories
from analysis.engine.storage.scratch import Scratch
from tests.engine.toys import make_old

ROOT = PurePosixPath("wlcg_fs:/v1/Task")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def inode(staged: Path) -> int:
    return staged.parent.stat().st_ino


def test_each_output_has_a_directory_that_is_gone_with_it(temporary: Path) -> None:
    scratch = Scratch()
    staged = scratch.place(ROOT / "hists.json")
    assert staged.name == "hists.json"
    assert staged.parent.parent == temporary
    assert staged.parent.name.startswith(f"analysis-{os.getpid()}-")
    assert staged.parent.stat().st_mode & 0o777 == 0o700
    assert scratch.place(ROOT / "hists.json") == staged
    staged.write_text("whole")
    scratch.discard(staged)
    scratch.discard(staged)


def test_what_a_process_that_was_killed_leaves_is_found(temporary: Path) -> None:
    code = (
        "import os, pathlib, analysis.engine.storage.scratch as scratch;"
        "print(scratch.Scratch().place(pathlib.PurePath('x')).parent, flush=True); os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    left = Path(found.stdout.strip())
    make_old(left)
    assert [residue.path for residue in staged_directories(temporary)] == [left]
    left.rmdir()


def test_an_empty_directory_is_the_next_ones_as_long_as_others_are_on_their_way() -> None:
    scratch = Scratch()
    first, second = scratch.place(ROOT / "1"), scratch.place(ROOT / "2")
    number = inode(first)
    first.write_text("1")
    scratch.discard(first)
    third = scratch.place(ROOT / "3")
    assert inode(third) == number
    assert not first.parent.exists()
    assert list(third.parent.iterdir()) == []
    scratch.discard(third)
    assert inode(scratch.place(ROOT / "3")) == number  # which had it before
    for staged in (second, third):
        scratch.discard(staged)


def test_nothing_of_one_output_is_found_by_the_next_one() -> None:
    scratch = Scratch()
    first, second = scratch.place(ROOT / "1"), scratch.place(ROOT / "2")
    (first.parent / "beside.tmp").write_text("made by run()")
    (first.parent / "deeper").mkdir()
    scratch.discard(first)
    third = scratch.place(ROOT / "3")
    assert list(third.parent.iterdir()) == []
    third.parent.rmdir()
    for staged in (second, third):
        scratch.discard(staged)


def test_what_was_discarded_is_not_what_has_its_directory_now() -> None:
    """A commit that fails discards all of its outputs, also those that are published already."""
    scratch = Scratch()
    first, second = scratch.place(ROOT / "a" / "hists.json"), scratch.place(ROOT / "b" / "hists.json")
    scratch.discard(first)
    third = scratch.place(ROOT / "c" / "hists.json")
    third.write_text("third")
    scratch.discard(first)
    assert third.read_text() == "third"
    for staged in (second, third):
        scratch.discard(staged)


def test_somebody_cleans_up(temporary: Path) -> None:
    scratch = Scratch()
    first, second, third = (scratch.place(ROOT / name) for name in "123")
    scratch.discard(first)
    scratch.discard(second)
    for folder in (first.parent, second.parent):
        folder.rmdir()
    for name in "124":
        staged = scratch.place(ROOT / name)
        assert list(staged.parent.iterdir()) == []
        scratch.discard(staged)
        staged.parent.rmdir()
    scratch.discard(third)
    assert list(temporary.iterdir()) == []


def test_only_the_file_where_the_directory_is_another_one(temporary: Path) -> None:
    other = temporary / "other" / "file"
    other.parent.mkdir()
    other.write_text("staged in a mirror")
    Scratch().discard(other)
    assert list(other.parent.iterdir()) == []
    other.parent.rmdir()


def test_several_threads(temporary: Path) -> None:
    scratch, problems = Scratch(), list[str]()
    meeting = threading.Barrier(8)

    def work(thread: int) -> None:
        meeting.wait()
        for number in range(50):
            staged = scratch.place(ROOT / f"{thread}" / f"{number % 3}")
            if list(staged.parent.iterdir()):
                problems.append(str(staged))
            staged.write_text(str(staged))
            if staged.read_text() != str(staged):
                problems.append(str(staged))
            scratch.discard(staged)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert list(temporary.iterdir()) == []


@given(st.lists(st.integers(0, 5)))
def test_any_order(steps: list[int]) -> None:
    scratch = Scratch()
    staged: dict[int, Path] = {}
    for step in steps:
        if step in staged:
            assert staged[step].read_text() == f"{step}"
            scratch.discard(staged.pop(step))
        else:
            staged[step] = scratch.place(ROOT / f"{step}")
            assert not any(staged[step].parent.iterdir())
            staged[step].write_text(f"{step}")
        assert len({inode(path) for path in staged.values()}) == len(staged)
    for path in staged.values():
        scratch.discard(path)
