from __future__ import annotations

import json

import pytest

from analysis.engine.doctor.finding import Level, Report, ReportError, green, grey, red, yellow

FINDINGS = (green("a", "1"), yellow("b", "2", "do"), grey("c", "3"))
REPORT = Report("node17", "jane", "2026-03-01T12:00:00+00:00", 0.5, FINDINGS)


def test_a_report_survives_json() -> None:
    assert Report.from_json(json.dumps(REPORT.to_json()), "x.json") == REPORT


def test_only_red_is_ill() -> None:
    assert REPORT.is_healthy()
    assert REPORT.to_json()["healthy"] is True
    ill = Report("node17", "jane", "", 0, (*FINDINGS, red("d", "4", "mend")))
    assert not ill.is_healthy()
    assert ill.to_json()["healthy"] is False
    assert [finding["level"] for finding in ill.to_json()["findings"]] == ["green", "yellow", "grey", "red"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", "null", '{"schema": 1}', '{"schema": 1, "findings": [{"name": "a", "level": "pink"}]}', "\0"],
)
def test_what_is_no_report(text: str) -> None:
    with pytest.raises(ReportError, match=r"^x\.json is no report of 'analysis doctor --json' or of the task Doctor"):
        Report.from_json(text, "x.json")


def test_a_report_of_another_version() -> None:
    with pytest.raises(ReportError, match=r"version 2, this project reads 1: run the doctor again"):
        Report.from_json(json.dumps({**REPORT.to_json(), "schema": 2}), "x.json")


def test_levels() -> None:
    assert [level.value for level in Level] == ["green", "yellow", "red", "grey"]
