from __future__ import annotations

import random
from pathlib import Path

import pytest

from analysis.engine.backends import joblogs
from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.failures import Failure
from analysis.engine.backends.joblogs import Attempt, LogError, job_token, surplus, timestamp
from analysis.engine.storage.local import LocalStore

FILES = LocalStore(Path("/"))
FAILURE = Failure(FailureClass.STORAGE, "OSError", "Größe", ("a.py:1 f: x",), host="node1")


def attempt(branch: int = 17, second: float = 0, result: str = "ok", job: int = 3) -> Attempt:
    return Attempt(branch, timestamp(1.6e9 + second), job_token("0a1B", job), result)


def test_names_carry_everything() -> None:
    one = attempt(result="storage")
    assert one.log == "17.20200913T122640000.0a1B-3.storage.log.gz"
    assert one.report == "17.20200913T122640000.0a1B-3.storage.json"
    assert Attempt.parse(one.log) == Attempt.parse(one.report) == one
    assert (one.failure, attempt().failure) == (FailureClass.STORAGE, None)


@pytest.mark.parametrize(
    "name",
    [
        "17.20200913T122640000.0a1B-3.storage.txt",
        "17.20200913T122640000.0a1B-3.unheard.json",
        "17.20200913T122640000.0a1B.ok.json",
        "x.20200913T122640000.0a1B-3.ok.json",
        "17.20200913T122640.0a1B-3.ok.json",
        ".17.20200913T122640000.0a1B-3.ok.json.77.part",
        "",
    ],
)
def test_other_names_are_no_logs(name: str) -> None:
    assert Attempt.parse(name) is None


def test_log_and_report_are_found_again(tmp_path: Path) -> None:
    text = "line\nGröße \N{ROCKET}\n"
    joblogs.write(FILES, tmp_path, attempt(), text.encode(), None)
    joblogs.write(FILES, tmp_path, attempt(second=1, result="storage"), b"\xff", FAILURE)
    (tmp_path / "logs" / "note.txt").touch()
    assert joblogs.attempts(FILES, tmp_path) == {17: [attempt(), attempt(second=1, result="storage")]}
    assert joblogs.read_log(FILES, tmp_path, attempt()) == text
    assert joblogs.read_log(FILES, tmp_path, attempt(second=1, result="storage")) == "\N{REPLACEMENT CHARACTER}"
    assert joblogs.read_report(FILES, tmp_path, attempt(second=1, result="storage")) == FAILURE


def test_nothing_there() -> None:
    assert joblogs.attempts(FILES, Path("/nowhere")) == {}


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"log .*17\..*cannot be read"):
        joblogs.read_log(FILES, tmp_path, attempt())
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / attempt().log).write_bytes(b"no gzip")
    (tmp_path / "logs" / attempt().report).write_bytes(b"{}")
    with pytest.raises(LogError, match=r"log .* cannot be read"):
        joblogs.read_log(FILES, tmp_path, attempt())
    with pytest.raises(LogError, match=r"report .*cannot be read: not the report of a failure"):
        joblogs.read_report(FILES, tmp_path, attempt())


def test_attempts_sort_by_time() -> None:
    ordered = [attempt(2), attempt(10, 0.001), attempt(10, 0.002, "code"), attempt(10, 1e9)]
    shuffled = random.Random(1).sample(ordered, 4)
    assert sorted(shuffled) == ordered


def test_the_newest_attempts_of_each_branch_are_kept(tmp_path: Path) -> None:
    old = [attempt(1, second, "storage") for second in range(7)]
    for one in (*old, attempt(2)):
        joblogs.write(FILES, tmp_path, one, b"", FAILURE if one.failure else None)
    (tmp_path / "logs" / "note.txt").touch()
    names = FILES.names(tmp_path / "logs")
    assert surplus(names) == sorted([old[0].log, old[0].report, old[1].log, old[1].report])
    joblogs.rotate(FILES, tmp_path)
    assert joblogs.attempts(FILES, tmp_path) == {1: old[2:], 2: [attempt(2)]}
    assert surplus(FILES.names(tmp_path / "logs")) == []
    joblogs.rotate(FILES, tmp_path, keep=1)
    assert joblogs.attempts(FILES, tmp_path) == {1: old[-1:], 2: [attempt(2)]}
    assert "note.txt" in FILES.names(tmp_path / "logs")
