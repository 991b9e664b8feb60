"""Images say which pinned list they were made of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from analysis.engine.sandboxes.base import SandboxError
from analysis.engine.sandboxes.pinned import PINS, check_image, list_hash, pinned_list
from tests.chain import REPOSITORY


@pytest.fixture
def lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directory of pinned lists."""
    monkeypatch.setenv("ANALYSIS_BASE", str(tmp_path))
    (tmp_path / "sandboxes").mkdir()
    return tmp_path / "sandboxes"


def test_place(lists: Path) -> None:
    assert pinned_list("ml") == lists / "ml.txt"


def test_place_without_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANALYSIS_BASE")
    assert pinned_list("ml") == REPOSITORY / "sandboxes" / "ml.txt"


@pytest.mark.parametrize(
    ("content", "is_same"),
    [
        ("a==1\nb==2\n", True),
        ("# of 2026\na==1\n  # via a\nb==2\n", True),
        ("a==1\nb==3\n", False),
        ("a==1\n", False),
        ("b==2\na==1\n", False),
        ("a==1 # for b\nb==2\n", False),
    ],
)
def test_hash(lists: Path, content: str, is_same: bool) -> None:
    (lists / "ml.txt").write_text("a==1\nb==2\n")
    before = list_hash(pinned_list("ml"))
    (lists / "ml.txt").write_text(content)
    assert (list_hash(pinned_list("ml")) == before) is is_same


@pytest.mark.parametrize("name", ["columnar", "ml", "stats", "analysis"])
def test_hash_is_that_of_environments(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYSIS_BASE", str(REPOSITORY))
    said = subprocess.run(
        ["bash", str(REPOSITORY / "sandboxes" / "environment.sh"), "--hash", name],
        capture_output=True,
        text=True,
        check=True,
    )
    assert list_hash(pinned_list(name)) == said.stdout.strip()


def test_image_of_this_list(lists: Path) -> None:
    (lists / "ml.txt").write_text("a==1\n")
    check_image("docker::ml", {PINS: list_hash(pinned_list("ml")), "other": "label"}, "ml", "docker build")


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({}, "docker::ml does not say what is in it: build it again ('docker build ...', see docs/sandboxes.md)"),
        ({PINS: "0123456789ab"}, "docker::ml was built from another list (0123456789ab, it is "),
    ],
)
def test_image_of_another_list(lists: Path, labels: dict[str, str], sentence: str) -> None:
    (lists / "ml.txt").write_text("a==1\n")
    with pytest.raises(SandboxError) as error:
        check_image("docker::ml", labels, "ml", "docker build")
    assert str(error.value).startswith(sentence)
