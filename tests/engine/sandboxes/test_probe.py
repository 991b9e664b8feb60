"""The look around in a sandbox, and what is remembered of it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.sandboxes import outside, probe
from analysis.engine.sandboxes.base import Running, Sandbox, SandboxError, Start
from analysis.engine.sandboxes.supervisors import Setup
from tests.engine.sandboxes.sandbox_toys import SandboxToy

LUIGI, LAW = (metadata.version(name) for name in ("luigi", "law"))


def found(pins: dict[str, str] | None = None, *places: Path) -> list[str]:
    """What is wrong here."""
    return list(probe.problems(probe.Wanted("a sandbox", pins or {}, tuple(map(str, places)))))


def test_pinned_versions(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(
        "# a list\n"
        "numpy==2.0.1\n"
        "    # via awkward\n"
        "dask[array]==2025.1.0\n"
        "zope.interface==7.2 \\\n"
        'tomli==2.0 ; python_version < "3.11"\n'
        'scipy==1.14 ; python_version < "3.13"\n'
        'scipy==1.15 ; python_version >= "3.13"\n'
        "--index-url https://example.org\n"
    )
    assert probe.pinned_versions(path) == {"numpy": "2.0.1", "dask": "2025.1.0", "zope.interface": "7.2"}


def test_all_is_well(tmp_path: Path) -> None:
    assert found({"luigi": LUIGI, "law": LAW}, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_missing_packages() -> None:
    sentence = "it has no no-a, no-b, no-c and 2 more: build it again from its pinned list"
    assert found({f"no-{letter}": "1" for letter in "abcde"} | {"law": LAW}) == [sentence]


def test_other_versions() -> None:
    assert found({"luigi": "0.1", "law": LAW}) == [f"luigi is {LUIGI}, not 0.1: build it again from its pinned list"]


def test_a_foreign_one_needs_law(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    assert found() == []
    monkeypatch.setattr(metadata, "version", version)
    assert found() == ["it has no luigi", "it has no law"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    assert found({}, tmp_path / "nowhere") == [f"{tmp_path}/nowhere cannot be written (no such file or directory)"]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PYTHON", (9, 0), "its Python is "),
        ("SCRATCH", 10**18, " MB free, and a task needs 1000000000000 MB"),
        ("MEMORY", 10**18, " MB of memory are free, and a task needs 1000000000000 MB"),
    ],
)
def test_too_little(name: str, value: Any, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, name, value)
    (said,) = found()
    assert sentence in said


def test_all_is_said_at_once(tmp_path: Path) -> None:
    wanted = probe.Wanted("docker::x", {"no-a": "1", "luigi": "0.1"}, (str(tmp_path / "nowhere"),))
    with pytest.raises(SandboxError) as error:
        probe.probe(wanted)
    text = str(error.value)
    assert text.startswith(f"docker::x on {socket.gethostname()} cannot run this: it has no no-a: ")
    assert f"luigi is {LUIGI}, not 0.1: " in text
    assert "nowhere cannot be written" in text


# what is remembered


class Noted(Sandbox):
    """Runs nothing, and notes whether it was asked to look around."""

    kind = "bash"
    made = "today"
    is_good = True

    def __init__(self) -> None:
        super().__init__("/noted.sh")
        self.asked: list[bool] = []

    def identity(self) -> str:
        return ""

    def state(self) -> str:
        return self.made

    def prepare(self) -> None:
        pass

    def start(self, start: Start) -> Running:
        raise NotImplementedError

    @contextmanager
    def answer(self, _sandbox: Sandbox, _setup: Setup, request: Callable[[], dict[str, Any]]) -> Iterator[Noted]:
        self.asked.append(bool(request()["wanted"]))
        yield self

    def listen(self, hear: Callable[[str, list[Any]], None]) -> None:
        hear("answer", [{"error": None, "is_good": self.is_good}])


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noted:
    """A sandbox, and an empty LAW_HOME."""
    monkeypatch.setenv("LAW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANALYSIS_STORE", str(tmp_path / "store"))
    sandbox = Noted()
    monkeypatch.setattr(outside, "asked", sandbox.answer)
    return sandbox


def test_it_is_asked_once(noted: Noted) -> None:
    for _ in range(3):
        outside.enter(SandboxToy(), noted)
    assert noted.asked == [True, False, False]


def test_it_is_asked_until_it_is_good(noted: Noted) -> None:
    noted.is_good = False
    for _ in range(2):
        outside.enter(SandboxToy(), noted)
    assert noted.asked == [True, True]


@pytest.mark.parametrize("what", ["made anew", "another store", "another machine"])
def test_it_is_asked_again(noted: Noted, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside.enter(SandboxToy(), noted)
    if what == "made anew":
        noted.made = "tomorrow"
    elif what == "another store":
        monkeypatch.setenv("ANALYSIS_STORE", str(tmp_path / "another"))
    else:
        monkeypatch.setattr(socket, "gethostname", lambda: "another")
    outside.enter(SandboxToy(), noted)
    assert noted.asked == [True, True]
