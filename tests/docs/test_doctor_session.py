"""What the page about the doctor shows happens, command by command."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from analysis.engine.doctor.examine import all_groups
from analysis.engine.doctor.finding import Level
from tests.chain import REPOSITORY, Law
from tests.docs.session import agrees, run, same, steps

PAGE = REPOSITORY / "docs" / "doctor.md"


def test_session_of_the_page(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    law = Law(repository / "data" / "store", repository / ".law")
    for folder in (law.store, law.home, tmp_path / "bin"):
        folder.mkdir(parents=True)
    for name in ("analysis", "sandboxes", "profiles", "law.cfg"):
        (repository / name).symlink_to(REPOSITORY / name)
    launcher = tmp_path / "bin" / "analysis"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m analysis "$@"\n')
    launcher.chmod(0o755)
    environment = {**law.environment(), "PATH": f"{tmp_path / 'bin'}{os.pathsep}{law.environment()['PATH']}"}
    environment = {name: value for name, value in environment.items() if not name.startswith("LAW__")}
    commands = list(steps(PAGE.read_text()))
    assert len(commands) >= 3
    for step in commands:
        printed = run(step.command, environment, repository)
        assert agrees(step.printed, printed), "\n".join([step.command, *map(same, printed)])


def test_every_group_and_level_is_on_the_page() -> None:
    page = PAGE.read_text()
    table = page.partition("## What is looked at")[2].partition("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(all_groups())
    words = re.findall(r"^\| (\w+|-) \| ", page.partition("## What is looked at")[0], re.MULTILINE)
    assert words == ["-" if level == Level.GREY else level.value for level in Level]
