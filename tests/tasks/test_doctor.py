from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from luigi.task_register import Register

from analysis.engine.doctor.finding import Report
from analysis.tasks import Doctor


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANALYSIS_STORE", str(tmp_path / "store"))
    Register.clear_instance_cache()
    return tmp_path / "store"


def test_the_report_of_a_branch(store: Path) -> None:
    task = Doctor(version="here").run_chain()
    path = store / "here" / "Doctor" / "doctor_0.json"
    report = Report.from_json(path.read_text(), "")
    assert report.host == socket.gethostname()
    assert {"python", "store local", "locale"} <= {finding.name for finding in report.findings}
    assert json.loads(path.read_text())["findings"][0]["name"] == "python"
    *lines, last = task.result_lines()
    assert lines[0].split()[:2] == ["green", "python"]
    assert f"@{socket.gethostname()}, " in lines[-1]
    assert last == "to look again: law run Doctor --remove-output 0,a,y, with the same parameters"
    assert task.complete()


def test_what_is_red_is_no_failure(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("X509_USER_PROXY", str(store / "none"))
    assert Doctor(version="here").run_chain().complete()
    report = Report.from_json((store / "here" / "Doctor" / "doctor_0.json").read_text(), "")
    assert not report.is_healthy()
