from __future__ import annotations

import os
from pathlib import Path

import pytest

from analysis.engine.storage.local import LocalStore

FILES = LocalStore(Path("/"))


def test_sizes_of_files_only(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("123")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    assert FILES.sizes(tmp_path) == {"a": 3, "empty": 0, "link": 3}
    assert sorted(FILES.names(tmp_path)) == ["a", "broken", "empty", "folder", "link"]


@pytest.mark.parametrize("path", ["absent", "absent/below", "file/below"])
def test_folder_that_is_not_there_is_empty(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    assert FILES.sizes(tmp_path / path) == {}
    assert FILES.names(tmp_path / path) == []


def test_any_other_error_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", fail)
    monkeypatch.setattr(os, "listdir", fail)
    with pytest.raises(OSError, match="Input/output error"):
        FILES.sizes(tmp_path)
    with pytest.raises(OSError, match="Input/output error"):
        FILES.names(tmp_path)


def test_file_that_vanishes_while_listing_is_an_error_of_nobody(tmp_path: Path) -> None:
    assert FILES.sizes(tmp_path) == {}
    FILES.remove(tmp_path / "absent")


def test_write_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    FILES.write(path, b"one")
    FILES.write(path, b"two")
    assert FILES.read(path) == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    FILES.write(path, b"one")

    def fail(self: Path, _content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        FILES.write(path, b"two")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"one")]


def test_move_makes_folders_and_replaces(tmp_path: Path) -> None:
    for text in ("one", "two"):
        (tmp_path / "source").write_text(text)
        FILES.move(tmp_path / "source", tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").read_text() == "two"
    assert not (tmp_path / "source").exists()


def test_move_of_nothing_fails(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FILES.move(tmp_path / "source", tmp_path / "b")


def test_remove(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    FILES.remove(tmp_path / "a")
    FILES.remove(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
