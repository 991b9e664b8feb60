from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from luigi.cmdline_parser import CmdlineParser

from analysis.console import main
from analysis.console.tasks import asked_task
from analysis.engine import session
from tests.engine.toys import Toy


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()[2:]]


def test_table(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store.is_dir()
    assert main(["history", "Toy"]) == 0
    found = capsys.readouterr()
    assert found.err == ""
    table = sorted(rows(found.out), key=lambda row: row[1])
    assert [row[1] for row in table] == ["0", "1", "2"]
    manifest = Toy(branch=0).manifest()
    finished = str(manifest.provenance["finished"])[:19].replace("T", " ")
    name = next((store / "v1/Toy/manifests").glob("0.*")).name
    commit = str(manifest.provenance["git_commit"]) + ("+" if manifest.provenance["git_dirty"] else "")
    recipe = f"{name[2:8]}-{name[13:19]}"
    assert table[0] == [finished, "0", recipe, "1,234", "0.0 s", socket.gethostname(), commit, "current"]


def test_one_branch_in_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store.is_dir()
    assert main(["history", "Toy", "--branch", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(entry["branch"], entry["state"], entry["accounting"]) for entry in found] == [
        (2, "current", {"events_out": 1234})
    ]


def test_parameters_are_those_of_law_run(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert store.is_dir()
    assert main(["history", "Toy", "--number", "7"]) == 0
    assert capsys.readouterr().out == "Toy has no history: it was never run, or its manifests were removed.\n"
    with pytest.raises(SystemExit) as ended:
        main(["history", "Toy", "--nothing", "7"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --nothing 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["Toi"], 2, "UnknownTaskError: there is no task Toi: did you mean Toy?"),
        (["SelectEvent"], 2, "UnknownTaskError: there is no task SelectEvent: did you mean SelectEvents?"),
        (["AnalysisTask"], 2, "UnknownTaskError: there is no task AnalysisTask"),
        (["no.such.Task"], 2, "UnknownTaskError: there is no task no.such.Task"),
        (["Toy", "--number", "x"], 1, "ParameterError: Toy: invalid literal for int() with base 10: 'x'"),
        (["Toy", "--number", "-1"], 1, "ToyError: --number -1 is negative: use a positive one"),
        (["Toy", "--branch", "17"], 1, "ParameterError: Toy has no branch 17"),
        (["FileToy"], 1, "ParameterError: FileToy: "),
    ],
)
def test_errors_are_one_sentence(
    store: Path, words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert store.is_dir()
    assert main(["history", *words]) == code
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.startswith(sentence)
    assert found.err.count("\n") == 1


def test_damaged_manifest_is_one_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = next((store / "v1/Toy/manifests").glob("1.*"))
    path.write_text("{")
    assert main(["history", "Toy"]) == 0
    found = capsys.readouterr()
    assert sorted(row[1] for row in rows(found.out)) == ["0", "2"]
    assert found.err.count("\n") == 1
    assert f"manifest {path} is damaged" in found.err


def test_starts_no_run(store: Path) -> None:
    assert store.is_dir()
    with asked_task("tests.engine.toys.Toy", ["--number", "3", "--FileToy-label", "z"]) as task:
        assert task == Toy(number=3)
        assert session.root() is None
        assert CmdlineParser.get_instance() is not None
    assert CmdlineParser.get_instance() is None
