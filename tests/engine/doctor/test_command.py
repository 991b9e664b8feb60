from __future__ import annotations

import sys
from pathlib import Path

from analysis.engine.doctor.command import run
from analysis.engine.process import is_running
from tests.engine.sandboxes.runs import until


def test_what_a_program_says() -> None:
    assert run(["echo", "a b"], 30) == ("a b\n", "")
    assert run(["sh", "-c", 'echo "$LC_ALL $X"'], 30, {"X": "1"}).output == "C 1\n"


def test_why_it_failed() -> None:
    assert run(["sh", "-c", "echo out; echo 'no  such\nthing' >&2; exit 3"], 30) == ("out\n", "no such thing")
    assert run(["sh", "-c", "exit 3"], 30).problem == "exit code 3"
    assert run(["/no/such/program"], 30).problem == "/no/such/program: no such file or directory"


def test_one_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    trace = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {trace}; wait"
    said = run(["sh", "-c", script], 1.0)
    assert said.problem == "no answer within 1 s"
    assert until(lambda: not is_running(int(trace.read_text())))  # it has been killed, which takes a moment


def test_it_reads_nothing_from_the_terminal() -> None:
    assert (
        run([sys.executable, "-c", "print(repr(input.__call__ and __import__('sys').stdin.read()))"], 30).output
        == "''\n"
    )
