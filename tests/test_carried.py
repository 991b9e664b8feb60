"""Files that go along to wherever a task runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis import carried


@pytest.fixture(autouse=True)
def nothing_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A process that has read nothing, in an empty directory."""
    monkeypatch.setattr(carried, "_read", {})
    monkeypatch.setattr(carried, "_taken", {})
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_read_is_carried() -> None:
    Path("a.txt").write_text("one")
    assert carried.carried() == {}
    assert carried.read("a.txt") == carried.CarriedFile(str(Path.cwd() / "a.txt"), "one")
    Path("a.txt").write_text("two")
    assert carried.carried()["a.txt"].text == "one"  # what is made of it goes with it
    assert carried.read("a.txt").text == carried.carried()["a.txt"].text == "two"


def test_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    Path("a.txt").write_text("one")
    assert carried.read("~/a.txt").place == str(Path.cwd() / "a.txt")
    assert list(carried.carried()) == ["~/a.txt"]


def test_what_another_process_has_read_counts() -> None:
    Path("a.txt").write_text("here")
    files = {"a.txt": ["/there/a.txt", "there"], "b.txt": ["/there/b.txt", "b"]}  # as JSON has it
    carried.take(files)
    assert carried.read("a.txt") == carried.CarriedFile("/there/a.txt", "there")
    assert carried.read("b.txt") == ("/there/b.txt", "b")
    assert carried.carried() == {name: tuple(parts) for name, parts in files.items()}  # and goes on


def test_what_cannot_be_read_is_not_carried() -> None:
    Path("bytes").write_bytes(b"\xff")
    with pytest.raises(FileNotFoundError):
        carried.read("none.txt")
    with pytest.raises(UnicodeDecodeError):
        carried.read("bytes")
    assert carried.carried() == {}
