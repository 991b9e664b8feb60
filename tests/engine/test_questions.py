from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.questions import QuestionParameter
from tests.chain import Law
from tests.engine.toy_chain import Read, contents, set_cpu


@dataclass(frozen=True)
class ToyLaw(Law):
    """Runs ``law`` for toy tasks in processes of their own."""

    world: dict[str, Any] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        return {
            **super().environment(),
            "TOY_WORLD": json.dumps(self.world),
            **{f"LAW__stale__{name}": value for name, value in self.options.items()},
        }

    def command(self, *arguments: str | Path) -> list[str]:
        family, *others = (str(argument) for argument in arguments)
        return [sys.executable, "-m", "law", "run", f"tests.engine.toy_chain.{family}", *others]

    def one_sentence(self, *arguments: str, code: int | None = None) -> str:
        """What a run that fails says; that it says one sentence only."""
        before = contents(self.store)
        done = self(*arguments)
        assert done.returncode == code if code else done.returncode != 0
        assert contents(self.store) == before
        (line,) = (done.stdout + done.stderr).splitlines()
        return line


CHANGED = {"settings": {"Read": {"x": 1}}}


@pytest.fixture
def law(tmp_path: Path) -> ToyLaw:
    """An empty store."""
    (tmp_path / "home").mkdir()
    return ToyLaw(tmp_path / "store", tmp_path / "home")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> ToyLaw:
    """A finished ``Sum``; for questions that change nothing."""
    folder = tmp_path_factory.mktemp("done")
    (folder / "home").mkdir()
    law = ToyLaw(folder / "store", folder / "home")
    law.succeed("Sum")
    return law


def ask(law: ToyLaw, *arguments: str) -> str:
    """The answer to a question that writes nothing, and nothing but the answer is said."""
    before = contents(law.store)
    done: subprocess.CompletedProcess[str] = law.succeed(*arguments)
    assert done.stderr == ""
    assert contents(law.store) == before
    return done.stdout


def changed(law: ToyLaw, **options: str) -> ToyLaw:
    return ToyLaw(law.store, law.home, CHANGED, options)


@pytest.mark.parametrize(
    ("question", "end"),
    [
        (["--print-status"], "0 current, 0 stale, 7 missing\n"),
        (["--print-status", "0"], "0 current, 0 stale, 1 missing\n"),
        (["--plan"], "7 to run; CPU time unknown\n"),
        (["--why"], "Sum: missing\n    not there yet\n"),
        (["--accept"], "0 accepted as current\n"),
        (["--verify"], "0 whole, 0 damaged, 7 missing\n"),
    ],
)
def test_questions_of_an_empty_store_leave_it_empty(law: ToyLaw, question: list[str], end: str) -> None:
    assert ask(law, "Sum", *question).endswith(end)
    assert not law.store.exists()


def test_plan_for_machines(done: ToyLaw) -> None:
    rows = json.loads(ask(changed(done), "Sum", "--plan", "json"))
    assert [(row["task"], row["missing"], row["changed"], row["affected"]) for row in rows] == [
        ("Read", 0, 3, 0),
        ("Count", 0, 0, 3),
        ("Sum", 0, 0, 1),
    ]
    assert json.loads(ask(done, "Sum", "--plan", "json")) == []


def test_answers_about_stale_outputs(done: ToyLaw) -> None:
    assert ask(changed(done), "Sum", "--print-status").endswith("\n0 current, 7 stale, 0 missing\n")
    assert "    setting x: (none) -> 1\n" in ask(changed(done), "Sum", "--why")
    assert ask(changed(done), "Sum", "--plan").splitlines()[-1].startswith("3 to run, 4 more if their inputs change;")
    assert ask(done, "Sum", "--why") == "Sum is current.\n"
    assert ask(done, "Sum", "--plan") == "Sum is complete: nothing would run.\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--plan", "yaml"], "ParameterError: --plan yaml does not exist: use --plan or --plan json"),
        (
            ["--print-status", "x"],
            "ParameterError: --print-status x: use a number of steps upstream, or nothing for all",
        ),
        (["--accept", "Nope"], "ParameterError: --accept Nope: Sum requires Count, Read, Sum only"),
    ],
)
def test_wrong_values_are_one_sentence(done: ToyLaw, arguments: list[str], sentence: str) -> None:
    assert changed(done).one_sentence("Sum", *arguments, code=1) == sentence


@pytest.mark.parametrize("question", ["--plan", "--why", "--accept"])
def test_wrong_policy_is_one_sentence(done: ToyLaw, question: str) -> None:
    said = changed(done, default="ignore").one_sentence("Sum", question, code=1)
    assert "section stale: 'ignore' for " in said
    assert said.endswith("is not one of rerun, warn, error")


def test_run_that_is_expensive_needs_a_yes(law: ToyLaw, monkeypatch: pytest.MonkeyPatch) -> None:
    law.succeed("Sum")
    monkeypatch.setenv("ANALYSIS_STORE", str(law.store))
    for branch in range(3):
        set_cpu(Read(branch=branch), 7200.0)
    costly = changed(law, expensive_cpu_hours="5.9")
    said = costly.one_sentence("Sum")
    assert "ExpensiveRunError: 7 stale branches would be made again, which took about 6 CPU hours: " in said
    assert said.endswith("look at --plan and --why, then --accept the outputs as they are, or run with --yes")
    assert ask(costly, "Sum", "--print-status").endswith("7 stale, 0 missing\n")
    assert "number of hours" in changed(law, expensive_cpu_hours="some").one_sentence("Sum")
    costly.succeed("Sum", "--yes")
    assert ask(costly, "Sum", "--print-status").endswith("7 current, 0 stale, 0 missing\n")


def test_run_where_stale_is_an_error(done: ToyLaw) -> None:
    said = changed(done, default="error").one_sentence("Sum")
    assert "is stale, and law.cfg says that this is an error: ask --why, then --accept it or allow the rerun" in said


@pytest.mark.parametrize(
    ("task", "question"),
    [
        ("Sum", "--why"),
        ("Sum", "--plan"),
        ("Sum", "--print-status"),
        ("Sum", "--verify"),
        ("Read", "--why"),
        ("Read", "--plan"),
        ("Read", "--print-status"),
        ("Read", "--verify"),
    ],
)
def test_questions_where_stale_is_an_error(done: ToyLaw, task: str, question: str) -> None:
    assert ask(changed(done, default="error"), task, question)


def test_accept_and_verify(law: ToyLaw) -> None:
    law.succeed("Sum")
    assert changed(law).succeed("Sum", "--accept", "Read,Count").stdout.endswith("\n6 accepted as current\n")
    assert ask(changed(law), "Sum", "--print-status").endswith("6 current, 1 stale, 0 missing\n")
    changed(law).succeed("Sum", "--accept")
    assert ask(changed(law), "Sum", "--plan") == "Sum is complete: nothing would run.\n"
    path = law.store / "v1" / "Count" / "count_1.txt"
    path.write_bytes(b"!" + path.read_bytes()[1:])
    verified = changed(law)("Sum", "--verify")
    assert verified.returncode == 1
    assert verified.stdout.endswith(": it counts as missing now\n6 whole, 1 damaged\n")
    assert "Count branch 1" in changed(law).succeed("Count").stderr
    assert ask(changed(law), "Sum", "--verify") == "7 whole, 0 damaged\n"


@pytest.mark.parametrize("arguments", [["--plan"], ["--print-status"], ["--why"], []])
def test_circle_is_one_sentence(law: ToyLaw, arguments: list[str]) -> None:
    assert "RecipeCycleError" in law.one_sentence("Circle", *arguments)


def test_newer_manifest_is_one_sentence(law: ToyLaw) -> None:
    law.succeed("Read")
    (path,) = (law.store / "v1" / "Read" / "manifests").glob("1.*")
    path.rename(path.with_name(path.name.replace(".v2.", ".v9.")))
    for arguments in (["--print-status"], ["--plan"], ["--why"], ["--accept"], ["--verify"], []):
        said = law.one_sentence("Read", *arguments)
        assert "ManifestError: " in said
        assert "newer version of this project (schema 9, known is 2)" in said


def test_question_of_the_generated_campaign(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    law = Law(tmp_path / "store", tmp_path / "home")
    task = ("GenerateEvents", "--dataset", "single_top_s_chan")
    status = law.succeed(*task, "--print-status")
    assert status.stdout.splitlines()[2].startswith("GenerateEvents single_top_s_chan")
    assert status.stdout.splitlines()[-1].startswith("0 current, 0 stale, ")
    (row,) = json.loads(law.succeed(*task, "--plan", "json").stdout)
    assert row["missing"] == row["branches"] > 0
    assert law.succeed(*task, "--why").stdout.splitlines()[1:] == ["    not there yet"]
    assert not law.store.exists()


# the parameter


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (True, "all"),
        ("True", "all"),
        (False, ""),
        ("False", ""),
        (None, ""),
        ((), ""),
        ("", ""),
        ("json", "json"),
        (0, ""),
    ],
)
def test_value_of_a_flag_that_may_have_one(given: object, text: str) -> None:
    parameter = QuestionParameter("a question")
    assert parameter.parse(given) == parameter.normalize(given) == parameter.serialize(given) == text
