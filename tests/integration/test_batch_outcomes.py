"""What jobs meet on their node, on the real systems: each branch ends as it should, after just so many jobs."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.integration.batch import Site, module_sites, sites, system
from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "module_sites", "sites", "slurm", "system", "testbed"]

pytestmark = pytest.mark.integration

ATTEMPTS = {
    "done": ["done"],
    "bad": ["code"],
    "flaky": ["node", "node", "done"],
    "killed": ["node", "done"],
    "memory": ["memory", "done"],
    "greedy": ["memory", "memory"],
    "slow": ["walltime", "done"],
    "stopped": ["walltime", "done"],
}
"""What becomes of the attempts of each branch."""
NUMBERS = {what: number for number, what in enumerate(ATTEMPTS)}


@dataclass(frozen=True)
class Outcome:
    """A run in which each branch meets another fault, and what it says."""

    site: Site
    said: str


@pytest.fixture(scope="module")
def outcome(module_sites: Callable[..., Site]) -> Outcome:
    """300 MB of memory at first, 600 MB at most; 8 s at first, 16 s at most."""
    limits = {"LAW__batch__max_memory": "600MB", "LAW__batch__max_runtime": "16s"}
    site = module_sites("+".join(ATTEMPTS), "--no-canary", "--max-runtime", "8s", **limits)
    run = site.start()
    stopped = NUMBERS["stopped"]
    run.until(lambda: stopped in site.begun())
    if site.system.name == "slurm":  # its limits are minutes
        site.queue.admin("scontrol", "update", f"JobId={site.ids()[stopped]}", "EndTime=now+5")
    return Outcome(site, run.end(30))


@pytest.mark.parametrize("what", ATTEMPTS)
def test_attempts(outcome: Outcome, what: str) -> None:
    assert outcome.site.attempts()[NUMBERS[what]] == ATTEMPTS[what]


def test_submissions(outcome: Outcome) -> None:
    """Each attempt is a job that the system has had, and there were no others."""
    assert outcome.site.submitted() == sum(map(len, ATTEMPTS.values())) == 15


def test_results(outcome: Outcome) -> None:
    assert outcome.site.done() == set(NUMBERS.values()) - {NUMBERS["bad"], NUMBERS["greedy"]}


def test_memory_is_doubled(outcome: Outcome) -> None:
    asked = outcome.site.queue.memory()
    assert asked[outcome.site.ids()[NUMBERS["memory"]]] == 573  # MiB
    assert asked[outcome.site.ids()[NUMBERS["done"]]] == 287


def test_summary(outcome: Outcome) -> None:
    """The last frames, the log, and what to type to see the same here."""
    branch = f"FaultToy --what {'+'.join(ATTEMPTS)} --branch 1"
    assert "code: ValueError: branch 1 is bad" in outcome.said
    assert "tests/integration/fault_toys.py" in outcome.said
    assert "do_bad: raise ValueError(msg)" in outcome.said
    assert f"analysis logs {branch}\n" in outcome.said
    assert f"law run {branch} --workflow local\n" in outcome.said
    assert "memory: the job used" in outcome.said
    assert "2 branches failed for 2 reasons" in outcome.said


def test_log(outcome: Outcome) -> None:
    """The log that the summary points to is in the store."""
    assert outcome.site.results()[NUMBERS["bad"]] == ["code"]


def test_bug_in_all_branches(sites: Callable[..., Site]) -> None:
    """Two first jobs fail, and that is all."""
    site = sites("bad+bad+bad+bad+bad")
    said = site.fail()
    assert site.attempts() == {0: ["code"], 1: ["code"]}
    assert site.submitted() == 2
    assert "3 branches were not submitted, since the first ones failed" in said


def test_node_without_python(sites: Callable[..., Site]) -> None:
    """The environment vanishes while the first job runs; the others are tried again once, and later again."""
    site = sites("gate+done+done", "--retries", "1")
    python = site.own_python()
    program = (str(python), "-m", "law", "run")
    run = site.start(program=program)
    run.until(site.begun)
    away = python.rename(python.with_name("away"))
    site.go()
    said = run.end(30)
    assert site.attempts() == {0: ["done"], 1: ["environment", "environment"], 2: ["environment", "environment"]}
    assert site.submitted() == 5
    assert re.search(rf"environment: job on \S+: the Python {python} is not on this machine\n", said)
    assert "2 branches: 1, 2, tried 2 times" in said
    away.rename(python)
    site.start(program=program).end()
    assert site.submitted() == 7
    assert site.done() == {0, 1, 2}
