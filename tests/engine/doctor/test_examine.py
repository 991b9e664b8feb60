from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from analysis.engine.doctor.examine import Check, all_groups, examine, run
from analysis.engine.doctor.finding import Finding, Level, green
from analysis.engine.storage.masking import remember
from analysis.errors import AnalysisError


def saying(*findings: Finding) -> Callable[[], Iterator[Finding]]:
    def look() -> Iterator[Finding]:
        yield from findings

    return look


def test_findings_come_in_the_order_of_the_checks() -> None:
    first_may_end = threading.Event()

    def first() -> Iterator[Finding]:
        assert first_may_end.wait(30)  # so both are at work at the same time
        yield green("first", "")

    def second() -> Iterator[Finding]:
        first_may_end.set()
        yield green("second", "a")
        yield green("second", "b")

    found = list(run([Check("first", first), Check("second", second)]))
    assert [(finding.name, finding.found) for finding in found] == [("first", ""), ("second", "a"), ("second", "b")]


def test_a_check_that_hangs_holds_up_nothing() -> None:
    end = threading.Event()

    def hang() -> Iterator[Finding]:
        end.wait()
        yield green("hangs", "")

    try:
        found = list(run([Check("hangs", hang, 0.05, "ask the site"), Check("other", saying(green("other", "fine")))]))
    finally:
        end.set()
    assert found == [
        Finding("hangs", Level.RED, "no answer within 0 s", "ask the site"),
        Finding("other", Level.GREEN, "fine"),
    ]


def test_an_error_of_the_project_says_what_to_do() -> None:
    def fail() -> Iterator[Finding]:
        msg = "law.cfg, section x: it is wrong: correct it"
        raise AnalysisError(msg)
        yield

    def without_advice() -> Iterator[Finding]:
        msg = "all is lost"
        raise AnalysisError(msg)
        yield

    found = list(run([Check("a", fail), Check("b", without_advice)]))
    assert found == [
        Finding("a", Level.RED, "law.cfg, section x: it is wrong", "correct it"),
        Finding("b", Level.RED, "all is lost", "mend that, and run the doctor again"),
    ]


def test_a_check_with_a_bug_is_red_and_alone() -> None:
    def fail() -> Iterator[Finding]:
        raise ZeroDivisionError
        yield

    bug, other = run([Check("bug", fail), Check("other", saying(green("other", "fine")))])
    assert (bug.name, bug.level) == ("bug", Level.RED)
    assert "ZeroDivisionError" in bug.found
    assert other == green("other", "fine")


def test_no_secret_and_no_line_break_is_shown() -> None:
    secret = remember("a-secret-of-nobody-0123456789")
    found = list(run([Check("a", saying(green("a", f"one\n  two {secret}")))]))
    assert found == [green("a", "one two <secret>")]


def test_groups_are_chosen() -> None:
    report = examine(["python"])
    assert {finding.name.partition(" ")[0] for finding in report.findings} == {"python", "environment"}
    assert report.host == socket.gethostname()
    assert report.time.endswith("+00:00")
    assert set(all_groups()) >= {"python", "disk", "sandboxes", "credentials", "storage", "htcondor", "slurm", "luigid"}


def test_messages_of_storage_come_back() -> None:
    logger = logging.getLogger("analysis.engine.storage")
    before = logger.level
    examine(["machine"])
    assert logger.level == before


BROKEN = "[outputs\ndefault: local\n"


def test_a_law_cfg_that_cannot_be_read(tmp_path: Path) -> None:
    """In a process of its own, since law reads its configuration when it is imported."""
    config = tmp_path / "law.cfg"
    config.write_text(BROKEN)
    said = subprocess.run(
        [sys.executable, "-P", "-m", "analysis", "doctor", "storage", "machine"],
        env={**os.environ, "LAW_CONFIG_FILE": str(config), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 1, said.stderr
    assert said.stderr == ""
    first, advice, *rest = said.stdout.splitlines()
    assert first.startswith("red     law.cfg ")
    assert str(config) in first
    assert "correct that line" in advice
    assert any(" memory " in line for line in rest)
    assert not any(" store " in line for line in rest)


HANGING = """
import sys, time
from pathlib import Path
from analysis.engine.doctor import examine
from analysis.engine.doctor.finding import green

def look():
    print("began", flush=True)
    Path(sys.argv[2]).read_text()  # a pipe: until somebody writes to it
    Path(sys.argv[1]).write_text("cleaned up")
    yield green("a", "")

list(examine.run([examine.Check("a", look, 60)]))
"""


def test_ctrl_c_waits_until_checks_have_cleaned_up(tmp_path: Path) -> None:
    trace, pipe = tmp_path / "trace", tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-c", HANGING, trace, pipe],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    process.send_signal(signal.SIGINT)
    pipe.write_text("go on")
    _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert trace.read_text() == "cleaned up"
