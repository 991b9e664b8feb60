"""What the page about staleness shows happens, command by command, on the real chain."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from analysis.engine.questions import QuestionParameter
from analysis.engine.task import AnalysisTask
from analysis.tasks import TrainModel
from tests.chain import REPOSITORY, Law
from tests.docs.session import Step, agrees, edit, run, same, steps

PAGE = REPOSITORY / "docs" / "staleness.md"


def test_steps_of_a_page() -> None:
    diff = "```diff\n-    old\n+    new\n+    newer\n```"
    page = f"Text\n\n    $ one 1\n    a\n\n    b\n    $ two\n\ntext\n\n{diff}\n\n    no command\n"
    assert list(steps(page)) == [
        Step("one 1", ("a", "", "b")),
        Step("two"),
        Step("", (), ("    old",), ("    new", "    newer")),
    ]


def test_two_blocks_of_commands_are_two() -> None:
    assert list(steps("    $ one\n    a\n\n    $ two\n    b\n\n")) == [Step("one", ("a",)), Step("two", ("b",))]


@pytest.mark.parametrize(
    ("shown", "printed", "agree"),
    [
        (("done in 0.1 s, 5 events",), ["done in 12.3 s, 5 events"], True),
        (("done in 0.1 s, 5 events",), ["done in 0.1 s, 6 events"], False),
        (("a", "...", "z"), ["a", "b", "", "c", "z"], True),
        (("a", "...", "z"), ["a", "b", "c"], False),
        (("...",), [], True),
        ((), ["a"], False),
        (("me@here (accepted)", "-----  ---"), ["you@there.org (accepted)", "--- ---"], True),
        (("2026-11-21 03:52:14  3  31428212  2,286",), ["2027-01-01 00:00:00 3 5142821a 2,286"], True),
        (("25 -> 20",), ["25 -> 30"], False),
    ],
)
def test_agreement(shown: tuple[str, ...], printed: list[str], agree: bool) -> None:
    assert agrees(shown, printed) is agree


def test_edit_has_to_fit_in_one_place(tmp_path: Path) -> None:
    file = tmp_path / "analysis" / "cut.py"
    file.parent.mkdir()
    file.write_text("a = 1\nb = 2\n")
    edit(tmp_path, Step("", (), ("a = 1",), ("a = 3", "c = 4")))
    assert file.read_text() == "a = 3\nc = 4\nb = 2\n"
    with pytest.raises(AssertionError):
        edit(tmp_path, Step("", (), ("a = 1",), ("a = 2",)))


def test_page_shows_a_session() -> None:
    found = list(steps(PAGE.read_text()))
    assert sum(bool(step.before) for step in found) >= 4
    assert sum(bool(step.printed) for step in found) >= 12


@pytest.mark.parametrize(
    "name", [name for name, parameter in AnalysisTask.get_params() if isinstance(parameter, QuestionParameter)]
)
def test_every_question_is_on_the_page(name: str) -> None:
    flag = f"`--{name.replace('_', '-')}`"
    jobs = (REPOSITORY / "docs" / "batch.md").read_text()
    assert f"| {flag} |" in PAGE.read_text() or (name in ("cancel", "cleanup") and flag in jobs)


def test_named_exceptions_and_methods_exist() -> None:
    assert callable(TrainModel.state)
    for name in ("configuration", "code_modules", "external_inputs", "needs", "revision"):
        assert hasattr(AnalysisTask, name)


@pytest.mark.integration
def test_session_of_the_page(demo: tuple[Law, object], tmp_path: Path) -> None:
    law, repository = demo[0], tmp_path / "repository"
    ignored = shutil.ignore_patterns("__pycache__")
    for folder in ("analysis", "sandboxes", "profiles"):
        shutil.copytree(REPOSITORY / folder, repository / folder, ignore=ignored)
    shutil.copy(REPOSITORY / "law.cfg", repository)
    shutil.copytree(law.store, repository / "data" / "store")  # a store can be copied, and stays current
    (tmp_path / "bin").mkdir()
    for command in ("analysis", "law"):
        launcher = tmp_path / "bin" / command
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m {command} "$@"\n')
        launcher.chmod(0o755)
    (repository / ".law").mkdir()
    environment = {
        **law.environment(),
        "PATH": f"{tmp_path / 'bin'}:{law.environment()['PATH']}",
        "PYTHONPATH": str(repository),
        "ANALYSIS_BASE": str(repository),
        "ANALYSIS_STORE": str(repository / "data" / "store"),
        "LAW_HOME": str(repository / ".law"),
        "LAW_CONFIG_FILE": str(repository / "law.cfg"),
    }
    run("law index", environment, repository)
    for step in steps(PAGE.read_text()):
        if step.before:
            edit(repository, step)
            continue
        printed = run(step.command, environment, repository)
        assert agrees(step.printed, printed), "\n".join([step.command, *map(same, printed)])
