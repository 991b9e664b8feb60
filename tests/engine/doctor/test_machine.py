from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from analysis.engine.doctor import machine
from analysis.engine.doctor.finding import Finding, Level
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]


def in_shell(limit: str, check: str, **variables: str) -> Finding:
    """What a check finds in a shell with a limit."""
    show = "print(found.level, found.found, found.advice, sep='|')"
    code = f"from analysis.engine.doctor import machine; (found,) = machine.{check}(); {show}"
    said = subprocess.run(
        ["bash", "-c", f'{limit}; exec "$@"', "bash", sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    level, found, advice = said.stdout.rstrip("\n").split("|")
    return Finding(check, Level(level), found, advice)


def test_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    monkeypatch.setattr(os, "getloadavg", lambda: (0.26, 0.0, 0.0))
    monkeypatch.setattr(machine, "_quota", lambda: None)
    (found,) = machine.cores()
    assert (found.level, found.found) == (Level.GREEN, "4 of 8, load 0.3")
    monkeypatch.setattr(machine, "_quota", lambda: 2)
    monkeypatch.setattr(os, "getloadavg", lambda: (16.1, 0.0, 0.0))
    (found,) = machine.cores()
    assert (found.level, found.found) == (Level.YELLOW, "2 of 8, load 16.1")


def test_memory_of_this_machine() -> None:
    (found,) = machine.memory()
    assert " free of " in found.found


def test_memory_with_a_limit_of_the_shell() -> None:
    found = in_shell("ulimit -v 1500000", "memory")
    assert found.level == Level.YELLOW
    assert "limit 1.54 GB of this shell (ulimit -v)" in found.found
    assert found.advice.startswith("a branch may need 2 GB: ")


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes the files of a control group within another one."""
    inner = tmp_path / "jobs" / "job"
    inner.mkdir(parents=True)
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(machine, "_own_cgroup", lambda: inner)

    def write(memory: str, outer: str, cpu: str) -> Path:
        (inner / "memory.max").write_text(memory)
        (inner.parent / "memory.max").write_text(outer)
        (inner / "cpu.max").write_text(cpu)
        return inner

    return write


def test_limits_of_a_job(cgroup: Callable[..., Path]) -> None:
    cgroup("max\n", "max\n", "max 100000\n")
    assert (machine._cgroup_limit(), machine._quota()) == (None, None)
    cgroup("3000000000\n", "1000000000\n", "250000 100000\n")
    assert (machine._cgroup_limit(), machine._quota()) == (1_000_000_000, 2)
    cgroup("max", "max", "50000 100000\n")
    assert machine._quota() == 1


def test_open_files() -> None:
    assert in_shell("ulimit -n 4096", "open_files") == Finding("open_files", Level.GREEN, "at most 4096")
    found = in_shell("ulimit -Sn 512", "open_files")
    assert (found.level, found.found, found.advice) == (
        Level.YELLOW,
        "at most 512",
        "runs may need 1024: run 'ulimit -n 1024'",
    )
    assert in_shell("ulimit -n 512", "open_files").advice == "runs may need 1024: ask the site"


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    (found,) = machine.processes()
    assert (found.level, found.advice) == (Level.YELLOW, "runs may need 256: ask the site")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    (found,) = machine.processes()
    assert (found.level, found.found) == (Level.GREEN, "no limit")


def test_core_files() -> None:
    assert in_shell("ulimit -c 0", "core_files").found == "not written"
    with_cores = in_shell("ulimit -Sc 1000", "core_files")
    is_piped = Path("/proc/sys/kernel/core_pattern").read_text().startswith("|")
    assert (with_cores.level == Level.GREEN) is is_piped


@pytest.mark.parametrize(
    ("variables", "level", "found"),
    [
        ({"LC_ALL": "C.UTF-8"}, Level.GREEN, "UTF-8 (LC_ALL=C.UTF-8)"),
        ({"LC_ALL": "xx_YY.UTF-8", "PYTHONUTF8": "1"}, Level.YELLOW, "UTF-8, but LC_ALL=xx_YY.UTF-8 is not known here"),
        ({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, Level.RED, "ascii (LC_ALL=POSIX)"),
    ],
)
def test_locale(variables: dict[str, str], level: Level, found: str) -> None:
    said = in_shell("true", "encoding", **variables)
    assert (said.level, said.found) == (level, found)
    assert (said.advice == "run 'export LC_ALL=C.UTF-8'") is (level != Level.GREEN)


# disks


def status(**changed: int) -> SimpleNamespace:
    """A disk of 100 GB, half full."""
    free = {"f_frsize": 1000, "f_blocks": 10**8, "f_bavail": 5 * 10**7, "f_files": 10**6, "f_favail": 10**5}
    return SimpleNamespace(**{**free, **changed})


@pytest.mark.parametrize(
    ("changed", "level", "found"),
    [
        ({}, Level.GREEN, "50 GB free of 100 GB"),
        ({"f_bavail": 9 * 10**6}, Level.YELLOW, "9 GB free of 100 GB"),
        ({"f_bavail": 9 * 10**5}, Level.RED, "900 MB free of 100 GB"),
        ({"f_favail": 10}, Level.RED, "50 GB free of 100 GB"),
        ({"f_files": 0, "f_favail": 0}, Level.GREEN, "50 GB free of 100 GB"),
    ],
)
def test_free_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, int], level: Level, found: str
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: status(**changed))
    (said,) = machine.disk("disk x", tmp_path, "TMPDIR")
    assert said.level == level
    assert said.found.startswith(f"{found} at {tmp_path}")
    assert ("TMPDIR" in said.advice) is (level != Level.GREEN)


def test_a_directory_that_is_not_made_yet(tmp_path: Path) -> None:
    (said,) = machine.disk("disk x", tmp_path / "a" / "b", "TMPDIR")
    assert said.found.endswith(f" at {tmp_path / 'a' / 'b'} (not made yet)")


def test_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (said,) = machine.disk("disk x", tmp_path / "file" / "b", "TMPDIR")
    assert (said.level, said.found) == (Level.RED, f"{tmp_path / 'file'} cannot be written")


def test_which_directories(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYSIS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LAW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ANALYSIS_ENV_DIR", str(tmp_path / "environments"))
    monkeypatch.delenv("ANALYSIS_JOB_BACKEND", raising=False)
    configure("outputs", default="wlcg_mirrored, grid", X="local, disk_b")
    configure("disk_b", base=str(tmp_path / "b"))
    configure("inputs", cache_root=str(tmp_path / "inputs"), cache_max_size="1GB")
    more = {"cache_root": str(tmp_path / "cache"), "cache_max_size": "1GB", "mirror": str(tmp_path / "mirror")}
    configure("grid", base="root://a//x", **more)
    found = {name: place for name, place, _ in machine._places() if name != "TMPDIR"}
    assert {name: place.name for name, place in found.items()} == {
        "LAW_HOME": "home",
        "environments": "environments",
        "store local": "store",
        "store disk_b": "b",
        "mirror grid": "mirror",
        "cache grid": "cache",
        "cache inputs": "inputs",
    }
    assert [check.name for check in machine.disk_checks()][:2] == ["disk LAW_HOME", "disk TMPDIR"]
    configure("outputs", default="wlcg")
    assert {name for name, _, _ in machine._places()} == {"LAW_HOME", "TMPDIR", "environments"}
    monkeypatch.setenv("ANALYSIS_JOB_BACKEND", "slurm")
    assert "environments" not in {name for name, _, _ in machine._places()}
