from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.console import main
from analysis.engine.doctor import examine
from analysis.engine.doctor.finding import Finding, Report, green, red

Output = pytest.CaptureFixture[str]

HEALTHY = Report("node17", "jane", "2026-03-01T12:00:00+00:00", 0.5, (green("a", "1"),))
ILL = Report("node17", "jane", "2026-03-01T12:00:00+00:00", 0.5, (green("a", "1"), red("b", "2", "mend it")))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The report of an ill machine."""
    path = tmp_path / "doctor_0.json"
    path.write_text(json.dumps(ILL.to_json()))
    return path


def test_a_group(capsys: Output) -> None:
    assert main(["doctor", "machine"]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert any(line.split()[1] == "memory" for line in lines if not line.startswith(" "))
    assert " UTC, in " in summary


def test_json(capsys: Output) -> None:
    assert main(["doctor", "--json", "machine"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["healthy"] is True
    assert "locale" in {finding["name"] for finding in content["findings"]}


def test_the_exit_code_tells_whether_anything_is_red(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    for report, code in ((HEALTHY, 0), (ILL, 1)):
        monkeypatch.setattr(examine, "examine", lambda _, report=report: report)
        assert main(["doctor"]) == code
        assert main(["doctor", "--json"]) == code
        assert f'"healthy": {str(not code).lower()}' in capsys.readouterr().out


def test_a_report_of_another_machine(written: Path, capsys: Output) -> None:
    assert main(["doctor", "--from", str(written)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "green   a  1",
        "red     b  2",
        "           -> mend it",
        "jane@node17, 2026-03-01 12:00:00 UTC, in 0.5 s: 1 red, 1 green",
    ]
    assert main(["doctor", "--json", "--from", str(written)]) == 1
    assert Report.from_json(capsys.readouterr().out, "") == ILL


def test_a_report_in_a_store(written: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYSIS_STORE", str(written.parent))
    assert main(["doctor", "--from", f"local:/{written.name}"]) == 1
    assert "jane@node17" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["stoarge"], "UnknownGroupError: there is no group of checks 'stoarge': did you mean storage?"),
        (["zzz"], "UnknownGroupError: there is no group of checks 'zzz': there are python, config, "),
        (["--from", "no.json"], "no.json: no such file or directory"),
        (["--from", __file__], "ReportError: "),
    ],
)
def test_mistakes(words: list[str], sentence: str, capsys: Output) -> None:
    assert main(["doctor", *words]) == 1
    assert sentence in capsys.readouterr().err


def test_a_report_has_all_groups(written: Path, capsys: Output) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--from", str(written), "storage"])
    assert ended.value.code == 2
    assert "leave out the groups" in capsys.readouterr().err


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    def interrupt(_: object) -> list[Finding]:
        raise KeyboardInterrupt

    monkeypatch.setattr(examine, "examine", interrupt)
    assert main(["doctor"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
