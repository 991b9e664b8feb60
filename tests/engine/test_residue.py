"""What processes and jobs leave on a machine outside of stores."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analysis.engine import residue
from analysis.engine.backends.bundle import UNUSED, used_bundles
from analysis.engine.residue import QUIET, is_dead, old_bundles, staged_directories
from tests.engine.toy_garbage import put
from tests.engine.toys import dead_process

DIGEST = "0123456789abcdef"


def aged(path: Path, seconds: float) -> Path:
    """A tree that was changed so long ago."""
    for one in [path, *path.rglob("*")]:
        status = one.lstat()
        os.utime(one, (status.st_mtime - seconds,) * 2)
    return path


def test_staged_directories_of_dead_processes(tmp_path: Path) -> None:
    dead, alive = dead_process(), os.getpid()
    for name in (f"analysis-{dead}-a_b1", f"analysis-{alive}-ab", f"analysis-{dead}", f"other-{dead}-ab"):
        put(tmp_path / name / "output.root", "12345")
        aged(tmp_path / name, QUIET + 60)
    put(tmp_path / f"analysis-{dead}-new" / "output.root")
    (tmp_path / f"analysis-{dead}-link").symlink_to(tmp_path / f"analysis-{dead}-a_b1")
    put(tmp_path / f"analysis-{dead}-file")
    (found,) = staged_directories(tmp_path)
    assert (found.path.name, found.files, found.size) == (f"analysis-{dead}-a_b1", 1, 5)
    assert residue.remove(found) is None
    assert staged_directories(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 6


def test_a_file_that_is_written_keeps_its_directory(tmp_path: Path) -> None:
    folder = aged(put(tmp_path / f"analysis-{dead_process()}-ab/deep/output.root").parent.parent, QUIET + 60)
    assert is_dead(folder)
    (folder / "deep/output.root").write_text("more")
    assert not is_dead(folder)


def test_directories_of_others_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = aged(put(tmp_path / f"analysis-{dead_process()}-ab/output.root").parent, QUIET + 60)
    assert is_dead(folder)
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    assert not is_dead(folder)


def test_bundles_that_jobs_use(tmp_path: Path) -> None:
    names = [f"repository-{DIGEST}", f"sandbox-{DIGEST}-py3.11.tar.gz", "repository-fedcba9876543210.tar.gz", "notes"]
    for name in names:
        aged(put(tmp_path / "bundles" / name), UNUSED + 60)
    put(tmp_path / "a/job.sub", f'environment = "ANALYSIS_JOB_REPOSITORY=/x/bundles/{names[0]} X=/y/{names[1]}"\n')
    used = used_bundles([tmp_path / "a"])
    assert used == set(names[:2])
    (found,) = old_bundles(tmp_path / "bundles", used)
    assert found.path.name == names[2]
    assert residue.remove(found) is None
    assert {path.name for path in (tmp_path / "bundles").iterdir()} == {names[0], names[1], "notes"}
    assert used_bundles([]) == set()


def test_a_submission_that_does_not_tell_keeps_all(tmp_path: Path) -> None:
    put(tmp_path / "a/job.sub", f"/x/repository-{DIGEST}\n")
    (tmp_path / "b").mkdir()  # under way
    assert used_bundles([tmp_path / "a", tmp_path / "b"]) is None
    assert used_bundles([tmp_path / "a", tmp_path / "gone"]) is None
