from __future__ import annotations

import re

import pytest

from analysis.console import COMMANDS, main


def test_help_names_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert {"history", "gc"} <= COMMANDS.keys()
    assert [name for name in COMMANDS if not re.search(rf"\n    {name}\s", text)] == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "required: command"),
        (["nothing"], "invalid choice: 'nothing'"),
        (["gc", "--delet"], "analysis gc: error: unrecognized arguments: --delet"),
        (["gc", "Toy"], "unrecognized arguments: Toy"),
        (["history"], "required: TASK"),
    ],
)
def test_wrong_command_line(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
