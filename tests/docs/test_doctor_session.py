"""What the page about the doctor shows happens, command by command."""

from __future__ import annotations

import re
from pathlib import Path

from analysis.engine.doctor.examine import all_groups
from analysis.engine.doctor.finding import Level
from tests.chain import REPOSITORY
from tests.docs.session import Copy, agrees, run, same, steps

PAGE = REPOSITORY / "docs" / "doctor.md"


def test_session_of_the_page(tmp_path: Path) -> None:
    copy = Copy.make(tmp_path, "analysis")
    environment = {name: value for name, value in copy.variables.items() if not name.startswith("LAW__")}
    commands = list(steps(PAGE.read_text()))
    assert len(commands) >= 3
    for step in commands:
        printed = run(step.command, environment, copy.path)
        assert agrees(step.printed, printed), "\n".join([step.command, *map(same, printed)])


def test_every_group_and_level_is_on_the_page() -> None:
    page = PAGE.read_text()
    table = page.partition("## What is looked at")[2].partition("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(all_groups())
    words = re.findall(r"^\| (\w+|-) \| ", page.partition("## What is looked at")[0], re.MULTILINE)
    assert words == ["-" if level == Level.GREY else level.value for level in Level]
