from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

import law.cli.cli
import pexpect
import pytest

from analysis.completion.__main__ import completion_lines
from analysis.config import parameter_values
from analysis.console import COMMANDS
from analysis.engine.backends.options import WORKFLOW_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.setup.conftest import Project

PROMPT = "ready> "
ESCAPES = re.compile(r"\x1b[\[(]?[?0-9;]*[A-Za-z]")
SHELLS = ["bash", "zsh"]


class Terminal:
    """An interactive shell in which setup.sh was sourced, and a keyboard."""

    def __init__(self, project: Project, shell: str) -> None:
        arguments = {"bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}[shell]
        home = project.path.parent / "home"
        home.mkdir()
        variables = project.variables(
            HOME=str(home), TERM="dumb", PS1=PROMPT, SETUP=str(project.path / "setup.sh"), INPUTRC="/dev/null"
        )
        self.process = pexpect.spawn(
            shell,
            arguments,
            cwd=str(project.path),
            env=variables,
            encoding="utf-8",
            timeout=60,
            dimensions=(50, 200),
        )
        self.process.expect_exact(PROMPT)
        if shell == "bash":
            self.run("bind 'set enable-bracketed-paste off'; bind 'set show-all-if-ambiguous on'")
            self.run("bind 'set bell-style none'; bind 'set page-completions off'")
        else:
            self.run(f"PS1='{PROMPT}'; unsetopt prompt_cr prompt_sp beep")
        self.run('source "$SETUP"')

    def run(self, command: str) -> str:
        """Run a command and return what it printed."""
        self.process.sendline(f"{command}; echo do''ne")
        self.process.expect_exact("done")
        printed: str = self.process.before
        self.process.expect_exact(PROMPT)
        return printed

    def complete(self, line: str) -> str:
        """Type a line and the tab key; return the line that results, by letting the shell print it."""
        self.process.send(f"{line}\t")
        self.process.send("\x01echo '<\x05>'\r")  # to its start, to its end: the line becomes an argument of echo
        self.process.expect("\n<([^>]*)>\r?\n")
        match = self.process.match
        assert isinstance(match, re.Match)
        self.process.expect_exact(PROMPT)
        completed: str = match.group(1)
        return completed

    def offers(self, line: str) -> set[str]:
        """Type a line and the tab key; return the words that are listed."""
        self.process.send(f"{line}\t")
        self.process.send("\x15echo do''ne\r")  # ^U removes the line
        self.process.expect_exact("\ndone")
        listed = ESCAPES.sub("", self.process.before)
        self.process.expect_exact(PROMPT)
        typed = {word for text in listed.splitlines() if "law run" in text for word in text.split()}
        return {word for text in listed.splitlines() if "law run" not in text for word in text.split()} - typed


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, ready: Project) -> Iterator[Terminal]:
    (ready.path / "mine.yaml").touch()
    (ready.path / "published.json").touch()
    terminal = Terminal(ready, request.param)
    yield terminal
    terminal.process.close(force=True)


COMPLETED = {
    "law lui": "law luigid",
    "law luigid --st": "law luigid --state-path",
    "law run Fi": "law run FitModel",
    "law run FitModel --unb": "law run FitModel --unblind",
    "law run FitModel --unblind T": "law run FitModel --unblind True",
    "law run SelectEvents --dataset w": "law run SelectEvents --dataset wjets",
    "law run SelectEvents --dataset=w": "law run SelectEvents --dataset=wjets",
    "law run SelectEvents --dataset tt": "law run SelectEvents --dataset ttbar",
    "law run SelectEvents --dataset=tt": "law run SelectEvents --dataset=ttbar",
    "law run SelectEvents --shift jes_u": "law run SelectEvents --shift jes_up",
    "law run SelectEvents --variables ht,tr": "law run SelectEvents --variables ht,trijet_mass",
    "law run SelectEvents --variables=ht,tr": "law run SelectEvents --variables=ht,trijet_mass",
    "law run SelectEvents --method b": "law run SelectEvents --method bdt",
    "law run SelectEvents --workflow h": "law run SelectEvents --workflow htcondor",
    "law run SelectEvents --dataset wjets --shift=jes_d": "law run SelectEvents --dataset wjets --shift=jes_down",
    "law run FitModel --SelectEvents-shi": "law run FitModel --SelectEvents-shift",
    "law run FitModel --SelectEvents-shift nom": "law run FitModel --SelectEvents-shift nominal",
    "law run FitModel --Sel": "law run FitModel --SelectEvents-",
    "law run FitModel --campaign ag": "law run FitModel --campaign agc_2015",
    "law run FitModel --campaign mi": "law run FitModel --campaign mine.yaml",
    "law run FitModel --campaign=mi": "law run FitModel --campaign=mine.yaml",
    "law run FitModel --log-level W": "law run FitModel --log-level WARNING",
    "law run FitModel --scheduler-h": "law run FitModel --scheduler-host",
    "law run FitModel --canc": "law run FitModel --cancel",
    "law run FitModel --cancel a": "law run FitModel --cancel all",
    "law run FitModel --workflow s": "law run FitModel --workflow slurm",
    "analysis hi": "analysis history",
    "analysis logs Sel": "analysis logs SelectEvents",
    "analysis logs SelectEvents --att": "analysis logs SelectEvents --attempt",
    "analysis logs SelectEvents --dataset w": "analysis logs SelectEvents --dataset wjets",
    "analysis history SelectEvents --js": "analysis history SelectEvents --json",
    "analysis jobs --j": "analysis jobs --json",
    "analysis gc --del": "analysis gc --delete",
}


def test_completes_what_is_unique(terminal: Terminal) -> None:
    completed = {line: terminal.complete(line).rstrip() for line in COMPLETED}
    assert completed == COMPLETED


def test_lists_what_is_not(terminal: Terminal) -> None:
    assert {"FitModel", "SelectEvents"} <= terminal.offers("law run ")
    assert {"ttbar", "ttbar_scaleup", "wjets"} <= terminal.offers("law run SelectEvents --dataset ")
    assert {"ttbar", "ttbar_scaleup", "wjets"} <= terminal.offers("law run SelectEvents --dataset=")
    assert {"nominal", "jes_up", "jes_down"} <= terminal.offers("law run SelectEvents --shift ")
    assert {"local", "htcondor"} <= terminal.offers("law run SelectEvents --workflow ")
    assert {"--campaign", "--unblind", "--version", "--workers"} <= terminal.offers("law run FitModel --")
    assert "--workers" not in terminal.offers("analysis logs FitModel --")


def test_offers_names_and_files_of_campaigns(terminal: Terminal) -> None:
    offered = terminal.offers("law run FitModel --campaign ")
    assert {"demo", "agc_2015", "mine.yaml"} <= offered
    assert "published.json" not in offered


def test_a_value_is_never_executed(terminal: Terminal) -> None:
    terminal.offers("law run FitModel --histograms ")
    assert "pwned" not in terminal.run("ls")


def test_survives_a_missing_index(terminal: Terminal) -> None:
    terminal.run('rm "$LAW_HOME/index" "$LAW_HOME/values"')
    assert terminal.complete("law lui").rstrip() == "law luigid"
    terminal.offers("law run Fi")


def test_options_of_subcommands_are_those_of_law(ready: Project) -> None:
    """The table in law.sh has to follow law when its version changes."""
    parsers = argparse.ArgumentParser().add_subparsers()
    for program in ("index", "config", "software", "quickstart"):
        module = __import__(f"law.cli.{program}", fromlist=["setup_parser"])
        module.setup_parser(parsers)
        known = {option for option in parsers.choices[program]._option_string_actions if option.startswith("--")}
        done = ready.shell(f'source "$SETUP"; _analysis_options {program}; echo $_analysis_found')
        assert set(done.stdout.split()) == known
    done = ready.shell('source "$SETUP"; COMP_WORDS=(law ""); COMP_CWORD=1; _analysis_complete; echo "${COMPREPLY[@]}"')
    assert set(done.stdout.split()) == {*law.cli.cli.progs, "--help", "--version"}


def test_options_of_subcommands_are_those_of_analysis(ready: Project) -> None:
    def offered(name: str) -> set[str]:
        return set(ready.shell(f'source "$SETUP"; _analysis_options {name}; echo $_analysis_found').stdout.split())

    assert offered("analysis") == {*COMMANDS, "--help"}
    for name, command in COMMANDS.items():
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        assert offered(name) == {option for option in parser._option_string_actions if option.startswith("--")}


def test_workflow_types_are_those_of_tasks() -> None:
    assert tuple(parameter_values()["workflow"]) == WORKFLOW_TYPES


def test_values_of_the_configuration_precede_those_of_the_task() -> None:
    lines = completion_lines(
        {"shift": ["nominal"], "workflow": ["local"], "log_level": ["INFO"], "bad": ["a b", "$(x)", "ok"]},
        {"Fit": {"shift": ["other"], "workflow": ["local", "slurm"], "blind": ["True", "False"]}},
    )
    assert lines == [
        "Fit.blind\tTrue False",
        "Fit.workflow\tlocal slurm",
        "bad\tok",
        "log-level\tINFO",
        "shift\tnominal",
        "workflow\tlocal",
    ]
