"""A scheduler that is restarted, away, absent, full or unwilling, for real: jobs run on, and one sentence says it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from tests.integration.batch import Site, making, sites, system
from tests.integration.batch_queue import until
from tests.testbed import System, Testbed
from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "sites", "slurm", "system", "testbed"]

pytestmark = pytest.mark.integration

SCHEDULER = {"htcondor": "schedd", "slurm": "slurmctld"}
SUBMIT = {"htcondor": "condor_submit", "slurm": "sbatch"}
SILENCE = {"htcondor": "HTCondor does not answer condor_q: ", "slurm": "Slurm does not answer: "}


def errors(said: str) -> list[str]:
    """What a run complains about."""
    return [line for line in said.splitlines() if line.startswith(("ERROR", "error", "Error", "Traceback"))]


def test_restart(sites: Callable[..., Site]) -> None:
    """While jobs wait and run."""
    site = sites("+".join(["gate"] * 6), "--no-canary")
    run = site.start()
    run.until(lambda: len(site.begun()) == 4)
    with site.system.without(SCHEDULER[site.system.name]):
        run.until_said(SILENCE[site.system.name])
        run.until_said("nothing is concluded from that, jobs run on")
    site.go()
    run.until_said(f"{site.system.name} answers again")
    run.end()
    assert site.submitted() == 6
    assert site.done() == set(range(6))


def test_scheduler_is_down_at_the_start(sites: Callable[..., Site]) -> None:
    site = sites("done+done")
    with site.system.without(SCHEDULER[site.system.name]):
        said = site.fail()
    assert SILENCE[site.system.name] in said
    assert len(errors(said)) == 1
    assert site.attempts() == {}


def test_no_programs(sites: Callable[..., Site]) -> None:
    """As on a machine that is none of the batch system."""
    site = sites("done+done")
    folder = site.make(site.folder / "few")
    for path in Path("/usr/bin").iterdir():
        if path.name != "sbatch":
            (folder / path.name).symlink_to(path)
    said = site.fail(PATH=f"{site.testbed.python.parent}:{folder}")
    name = {"htcondor": "condor_q is not to be found", "slurm": "Slurm's sbatch cannot be found in PATH"}
    assert name[site.system.name] in said
    assert len(errors(said)) == 1
    assert site.attempts() == {}


def test_refusal(sites: Callable[..., Site]) -> None:
    """In the scheduler's own words."""
    wrong = {"htcondor": {"LAW__htcondor__universe": "nonsense"}, "slurm": {"LAW__slurm__qos": "nonsense"}}
    site = sites("done+done")
    said = site.fail(**wrong[site.system.name])
    words = {"htcondor": "I don't know about the 'nonsense' universe", "slurm": "Invalid qos specification"}
    assert words[site.system.name] in said
    assert len(errors(said)) == 1
    assert site.attempts() == {}
    assert site.submitted() == 0


def test_full_queue(sites: Callable[..., Site]) -> None:
    """Jobs follow as there is room: 7 where 5 (Slurm) or 3 (HTCondor) may be in the queue."""
    site = sites("+".join(["done"] * 7), "--no-canary")
    quota: dict[str, AbstractContextManager[None]] = {
        "htcondor": site.system.settings("MAX_JOBS_PER_OWNER = 3"),
        "slurm": nullcontext(),
    }
    with quota[site.system.name]:
        said = site.succeed(**{"LAW__slurm__qos": "tiny"} if site.system.name == "slurm" else {})
    assert "the other jobs follow when there is room" in said
    assert site.submitted() == 7
    assert site.done() == set(range(7))


def test_call_without_answer(sites: Callable[..., Site]) -> None:
    """The scheduler takes the jobs, and the answer is lost: nothing is submitted again."""
    site = sites("done+done+done", "--no-canary")
    path = site.wrap(SUBMIT[site.system.name], '"$REAL" "$@" > /dev/null; echo "Connection reset by peer" >&2; exit 1')
    said = site.succeed(PATH=path)
    assert "whether it took the jobs will be asked" in said
    assert site.submitted() == 3
    assert site.done() == {0, 1, 2}


def test_no_accounting(testbed: Testbed, slurm: System) -> None:
    """Accounting is down while jobs end, and the controller has forgotten them when the run asks for them."""
    with making(testbed, slurm) as make, slurm.settings("MinJobAge=2"):
        site = make("gate+gate+gate", "--no-canary")
        run = site.start()
        run.until(lambda: len(site.begun()) == 3)
        with slurm.without("slurmdbd"):
            run.signal(signal.SIGSTOP)
            site.go()
            until(lambda: len(site.done()) == 3 and not site.queue.remembered())
            run.signal(signal.SIGCONT)
            asked = site.select("SELECT answered FROM polls")
            run.until(lambda: site.select("SELECT answered FROM polls") > asked)
            assert not run.has_ended()
            assert set(site.attempts()) == {0, 1, 2}
        run.end()
        assert site.submitted() == 3
