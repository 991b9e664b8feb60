from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any

import pytest

from analysis.engine.doctor import roundtrip
from analysis.engine.doctor.finding import Finding, Level
from analysis.engine.storage.base import Entry, NotFoundError
from analysis.engine.storage.local import LocalStore
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]

Configured = Callable[..., list[Finding]]


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def by_name(findings: Sequence[Finding], name: str) -> Finding:
    (found,) = (finding for finding in findings if finding.name == name)
    return found


@pytest.fixture
def look(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Configured:
    """What the checks of storage find with a section ``grid``."""
    monkeypatch.setenv("ANALYSIS_STORE", str(tmp_path / "disk"))
    configure("outputs", default="wlcg, grid")

    def call(**options: str) -> list[Finding]:
        configure("grid", **options)
        return [finding for check in roundtrip.checks() for finding in check.look()]

    return call


# on a disk


def test_a_store_on_a_disk(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    store, clock = roundtrip.look_here(LocalStore(tmp_path))
    assert (store.name, store.level) == ("store local", Level.GREEN)
    assert store.found.startswith(f"{tmp_path}: write ")
    assert [step.split()[0] for step in store.found.partition(": ")[2].split(", ")] == [
        "write",
        "list",
        "read",
        "remove",
    ]
    assert clock == Finding("clock local", Level.GREEN, "the same as here")
    assert tree(tmp_path) == ["v1"]


def test_a_store_that_is_not_made_yet_stays_so(tmp_path: Path) -> None:
    store, _ = roundtrip.look_here(LocalStore(tmp_path / "a" / "b"))
    assert store.level == Level.GREEN
    assert tree(tmp_path) == []


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (store,) = roundtrip.look_here(LocalStore(tmp_path / "file"))
    assert store.level == Level.RED
    assert store.found == f"{tmp_path / 'file'}: not a directory"
    assert "set ANALYSIS_STORE to another directory" in store.advice
    (store,) = roundtrip.look_here(LocalStore(tmp_path / "file", "disk_b"))
    assert "set base in section disk_b to another directory" in store.advice
    assert tree(tmp_path) == ["file"]


AS_NOBODY = """
import os, sys
from pathlib import Path
from analysis.engine.doctor import roundtrip
from analysis.engine.storage.local import LocalStore
store = LocalStore(Path(sys.argv[1]))
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for finding in roundtrip.look_here(store):
    print(finding.level.value, finding.found)
"""


@pytest.mark.parametrize("mode", [0o000, 0o555])
def test_a_store_that_may_not_be_written(mode: int) -> None:
    root = Path("/var/tmp") / f"doctor-{socket.gethostname()}-{os.getpid()}-{mode}"  # others may reach it
    root.mkdir(mode=0o777)
    root.chmod(mode)
    try:
        if os.geteuid() == 0:
            program = [sys.executable, "-c", AS_NOBODY, str(root)]
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
            done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
            assert done.stdout == f"red {root}: permission denied\n"
        else:
            (store,) = roundtrip.look_here(LocalStore(root))
            assert (store.level, store.found) == (Level.RED, f"{root}: permission denied")
    finally:
        root.chmod(0o755)
        assert tree(root) == []
        root.rmdir()


class Broken(LocalStore):
    """A disk that fails at one step."""

    def __init__(self, root: Path, step: str) -> None:
        super().__init__(root)
        self._step = step
        self._failed = False

    def _fail(self, step: str) -> bool:
        if step == self._step and not self._failed:
            self._failed = True
            return True
        return False

    def entries(self, folder: PurePath) -> list[Entry]:
        return [] if self._fail("entries") else super().entries(folder)

    def read(self, path: PurePath) -> bytes:
        return b"something else" if self._fail("read") else super().read(path)

    def remove(self, path: PurePath) -> None:
        if self._fail("remove"):
            raise OSError(5, "Input/output error", str(path))
        super().remove(path)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("entries", "the size of a new file in a listing is wrong: none instead of 1000"),
        ("read", "the content of a new file is wrong"),
        ("remove", "input/output error"),
    ],
)
def test_nothing_is_left_of_a_trip_that_fails(tmp_path: Path, step: str, said: str) -> None:
    (finding,) = roundtrip.look_here(Broken(tmp_path, step))
    assert (finding.level, finding.found) == (Level.RED, f"{tmp_path}: {said}")
    assert tree(tmp_path) == []


def test_a_trip_that_is_interrupted_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(LocalStore, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(roundtrip.look_here(LocalStore(tmp_path)))
    assert tree(tmp_path) == []


# on servers: of file://, which gfal2 and fsspec speak


def test_a_store_by_a_client_library(look: Configured, tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    found = look(base=f"file://{tmp_path}/remote", interface="fsspec")
    store = by_name(found, "store grid")
    assert store.level == Level.GREEN, store
    assert store.found.startswith(f"file://{tmp_path}/remote by fsspec: write ")
    assert by_name(found, "clock grid").found == "the same as here"
    assert by_name(found, "store local").level == Level.GREEN
    assert tree(tmp_path) == ["remote"]


def test_a_root_that_is_made_for_the_trip_is_removed(look: Configured, tmp_path: Path) -> None:
    found = look(base=f"file://{tmp_path}/remote", interface="fsspec")
    assert by_name(found, "store grid").level == Level.GREEN
    assert tree(tmp_path) == []


def test_each_endpoint_and_the_mirror(look: Configured, configure: Configure, tmp_path: Path) -> None:
    configure("outputs", default="wlcg_mirrored, grid")
    (tmp_path / "a").mkdir()
    base = f"file://{tmp_path}/a, file://{tmp_path}/no/b"
    found = look(base=base, interface="fsspec", mirror=str(tmp_path / "mirror"))
    endpoints = [finding for finding in found if finding.name == "store grid"]
    assert [finding.level for finding in endpoints] == [Level.GREEN, Level.RED]
    assert endpoints[1].found.startswith(f"file://{tmp_path}/no/b: make folder: ")
    assert by_name(found, "mirror grid").level == Level.GREEN
    assert tree(tmp_path) == ["a"]


def test_a_library_that_does_not_speak_to_it(look: Configured, tmp_path: Path) -> None:
    found = by_name(look(base=f"file://{tmp_path}/x", interface="xrootd"), "store grid")
    assert found == Finding(
        "store grid",
        Level.RED,
        f"file://{tmp_path}/x: interface 'xrootd' does not speak file://",
        "correct interface or base in section grid of law.cfg",
    )


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_a_server_that_is_not_there(
    look: Configured, dead_port: int, scheme: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = by_name(look(base=f"{scheme}://127.0.0.1:{dead_port}/store/x", interface="auto"), "store grid")
    assert found.level == Level.RED
    assert f"127.0.0.1:{dead_port}" in found.found
    assert found.advice == "ask the site whether that server is up, or correct base in section grid of law.cfg"
    assert caplog.text == ""


def test_a_server_that_never_answers_ends_by_the_time_of_one_request(
    look: Configured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roundtrip, "REQUEST", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        found = by_name(look(base=f"https://127.0.0.1:{silent.getsockname()[1]}/x", interface="fsspec"), "store grid")
    assert found.level == Level.RED
    assert re.search(r"the server does not answer \(after \d+ s\)", found.found)


def test_a_configuration_that_makes_no_sense(configure: Configure) -> None:
    from analysis.engine.doctor.examine import examine

    configure("outputs", default="wlcg")
    (found,) = examine(["storage"]).findings
    assert (found.name, found.level) == ("storage", Level.RED)
    assert found.advice == "name the section of the store as well, e.g. wlcg, wlcg_fs"


def test_no_store_at_all(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    configure("outputs")
    monkeypatch.delenv("ANALYSIS_STORE", raising=False)
    found = [finding for check in roundtrip.checks() for finding in check.look()]
    assert [(finding.name, finding.level, finding.advice) for finding in found] == [
        ("stores", Level.GREY, "source setup.sh")
    ]


# speed and clocks


def test_a_slow_store_is_yellow() -> None:
    trip = roundtrip.Trip({"write": 6.0, "read": 0.0123})
    found = roundtrip._green("store x", trip, "root://x: ", "")
    assert (found.level, found.found) == (Level.YELLOW, "root://x: write 6000 ms, read 12.3 ms")


@pytest.mark.parametrize(
    ("skew", "level", "words"),
    [
        (0.0, Level.GREEN, "the same as here"),
        (-10.0, Level.GREEN, "10 s behind this machine"),
        (30.0, Level.GREEN, "30 s ahead of this machine"),
        (31.0, Level.YELLOW, "31 s ahead of this machine"),
        (-300.0, Level.YELLOW, "300 s behind this machine"),
        (-301.0, Level.RED, "301 s behind this machine"),
    ],
)
def test_clocks(skew: float, level: Level, words: str) -> None:
    (found,) = roundtrip.clock("grid", skew, "set it")
    assert (found.name, found.level, found.found) == ("clock grid", level, words)


def test_a_clock_that_is_not_told() -> None:
    assert list(roundtrip.clock("grid", roundtrip.skew_of(0, 1, 2), "set it")) == []


def test_a_store_with_a_wrong_clock(tmp_path: Path) -> None:
    class Late(LocalStore):
        def write(self, path: PurePath, content: bytes) -> None:
            super().write(path, content)
            os.utime(path, (1_000_000_000, 1_000_000_000))

    _, clock = roundtrip.look_here(Late(tmp_path))
    assert clock.level == Level.RED
    assert clock.found.endswith("s behind this machine")


def test_roots_above_that_are_not_there() -> None:
    asked = []

    def gone(url: str) -> NotFoundError:
        return NotFoundError("stat", url, "no such file")

    def stat(url: str) -> Entry:
        asked.append(url)
        if len(url) > len("root://h//store"):
            raise gone(url)
        return Entry("store", 0, True, 0)

    assert roundtrip._missing(stat, "root://h//store/a/b") == ["root://h//store/a/b", "root://h//store/a"]
    assert asked == ["root://h//store/a/b", "root://h//store/a", "root://h//store"]

    def nothing(url: str) -> Entry:
        raise gone(url)

    assert roundtrip._missing(nothing, "root://h//store/a") == ["root://h//store/a", "root://h//store"]
    assert roundtrip._missing(nothing, "file:///a/b") == ["file:///a/b", "file:///a"]
