from __future__ import annotations

import os
import sys

import pexpect
import pytest

from analysis.engine.doctor import table
from analysis.engine.doctor.finding import Report, green, grey, red, yellow

REPORT = Report(
    "node17",
    "jane",
    "2026-03-01T12:34:56+00:00",
    1.26,
    (
        green("python", "3.11"),
        red("store local", "full [/data]", "make room"),
        yellow("x", "y", "z"),
        grey("slurm", "no"),
    ),
)


def test_lines() -> None:
    assert list(table.lines(REPORT)) == [
        "green   python       3.11",
        "red     store local  full [/data]",
        "                     -> make room",
        "yellow  x            y",
        "                     -> z",
        "-       slurm        no",
        "jane@node17, 2026-03-01 12:34:56 UTC, in 1.3 s: 1 red, 1 yellow, 1 green, 1 not used",
    ]


def test_nothing_to_show() -> None:
    assert list(table.lines(Report("h", "u", "2026-03-01T12:34", 0, ()))) == [
        "u@h, 2026-03-01 12:34 UTC, in 0.0 s: nothing found"
    ]


def test_without_a_terminal_there_are_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    table.show(REPORT)
    assert capsys.readouterr().out.splitlines() == list(table.lines(REPORT))


def test_on_a_terminal_there_are() -> None:
    code = "from tests.engine.doctor.test_table import REPORT, table; table.show(REPORT)"
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "60"}
    variables.pop("NO_COLOR", None)
    process = pexpect.spawn(sys.executable, ["-c", code], env=variables, encoding="utf-8", dimensions=(50, 60))
    process.expect(pexpect.EOF)
    said = str(process.before)
    assert "\x1b[32mgreen" in said
    assert "\x1b[1;31mred" in said
    assert "full [/data]" in said  # no markup of rich's
    assert "1 red, 1 yellow, 1 green, 1 not used" in " ".join(said.split())
