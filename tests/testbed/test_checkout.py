"""The copy of the checkout is the checkout."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

import pytest

from tests.testbed.checkout import files, synchronise


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "package").mkdir(parents=True)
    (folder / "package" / "a.py").write_text("1")
    (folder / "b c").write_text("2")
    (folder / "tool").write_text("3")
    (folder / "tool").chmod(0o700)
    (folder / "link").symlink_to("tool")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "x.log").write_text("4")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


def repository(source: Path) -> None:
    subprocess.run(["git", "init", "--quiet", source], check=True)
    subprocess.run(["git", "-C", source, "add", "tool"], check=True)


def copied(target: Path) -> dict[str, str]:
    return {str(path.relative_to(target)): path.read_text() for path in target.rglob("*") if path.is_file()}


def test_files_of_a_repository(source: Path) -> None:
    repository(source)
    assert files(source) == {"package/a.py", "b c", "tool", "link", ".gitignore"}
    (source / "tool").unlink()
    assert files(source) == {"package/a.py", "b c", "link", ".gitignore"}


def test_files_without_git(source: Path) -> None:
    (source / "package" / "__pycache__").mkdir()
    (source / "package" / "__pycache__" / "a.pyc").write_text("")
    assert files(source) == {"package/a.py", "b c", "tool", "link", ".gitignore", "x.log"}


def test_copy_and_what_is_removed(source: Path, target: Path) -> None:
    repository(source)
    owner = getpass.getuser()
    synchronise(source, target, owner)
    assert copied(target) == {"package/a.py": "1", "b c": "2", "tool": "3", "link": "3", ".gitignore": "*.log\n"}
    assert os.access(target / "tool", os.X_OK)
    assert (target / "tool").stat().st_mode & 0o777 == 0o744
    assert (target / "link").is_symlink()
    (target / "made").write_text("by a run")
    (source / "package" / "a.py").write_text("longer")
    (source / "tool").unlink()
    (source / "link").unlink()
    synchronise(source, target, owner)
    assert copied(target) == {"package/a.py": "longer", "b c": "2", ".gitignore": "*.log\n", "made": "by a run"}


def test_an_older_file_of_the_same_size_replaces(source: Path, target: Path) -> None:
    repository(source)
    synchronise(source, target, getpass.getuser())
    (source / "b c").write_text("9")
    os.utime(source / "b c", (1, 1))
    synchronise(source, target, getpass.getuser())
    assert (target / "b c").read_text() == "9"


def test_what_is_the_same_is_left_alone(source: Path, target: Path) -> None:
    repository(source)
    synchronise(source, target, getpass.getuser())
    before = {path: path.lstat().st_ino for path in target.rglob("*")}
    synchronise(source, target, getpass.getuser())
    assert {path: path.lstat().st_ino for path in target.rglob("*")} == before
