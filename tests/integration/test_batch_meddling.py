"""What people and administrators do to jobs from outside, on the real systems: no job is submitted that need not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.integration.batch import Site, module_sites, sites, system
from tests.integration.batch_queue import until
from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "module_sites", "sites", "slurm", "system", "testbed"]

pytestmark = pytest.mark.integration

REMOVED, RUNNING, SUSPENDED, PREEMPTED, HELD, WAITING = range(6)


@dataclass(frozen=True)
class Meddling:
    """A run that was meddled with, and what it said.

    Args:
        site: with the run.
        stuck: branch whose job was put on hold by the system.
        said: what the run said.
    """

    site: Site
    stuck: int
    said: str


@pytest.fixture(scope="module")
def meddling(module_sites: Callable[..., Site]) -> Meddling:
    """Six jobs, of which four run at once."""
    site = module_sites("+".join(["gate"] * 6), "--no-canary")
    queue = site.queue
    run = site.start()
    run.until(lambda: len(site.begun()) == 4)
    ids = site.ids()
    queue.hold(ids[HELD])
    run.until_said("held: 1 (+1)")
    stuck = WAITING if site.system.name == "htcondor" else RUNNING
    with queue.system_hold(ids[stuck]):
        run.until(lambda: site.ids()[stuck] != ids[stuck])
    queue.suspend(ids[SUSPENDED])
    run.until_said("held: 2 (+1)")
    queue.preempt(ids[PREEMPTED])
    queue.remove(ids[REMOVED])
    run.until_said("failed: 1 (+1)")
    assert ids[HELD] in queue.waiting()
    queue.release(ids[HELD])
    queue.resume(ids[SUSPENDED])
    site.go()
    return Meddling(site, stuck, run.end(30))


def test_removed_by_the_user(meddling: Meddling) -> None:
    assert meddling.site.attempts()[REMOVED] == ["removed"]
    assert "  removed: " in meddling.said
    assert "1 branch: 0; on" in meddling.said


def test_put_on_hold_by_the_system(meddling: Meddling) -> None:
    """It would stay there for ever: it is taken out, and tried again."""
    assert meddling.site.attempts()[meddling.stuck] == ["node", "done"]


def test_one_job_each(meddling: Meddling) -> None:
    """Whatever was held, suspended or preempted is waited for."""
    attempts = meddling.site.attempts()
    others = set(range(6)) - {REMOVED, meddling.stuck}
    assert [attempts[branch] for branch in sorted(others)] == [["done"]] * 4


def test_preempted(meddling: Meddling) -> None:
    """The batch system itself runs it once more."""
    assert meddling.site.begun()[PREEMPTED] == 2


def test_reasons(meddling: Meddling) -> None:
    """Whoever looks sees why jobs are on hold."""
    reason = "via condor_hold (by user " if meddling.site.system.name == "htcondor" else "JobHeldUser"
    assert f"on hold: {reason}" in meddling.said


def test_submissions(meddling: Meddling) -> None:
    assert meddling.site.submitted() == 7
    assert meddling.site.queue.waiting() == {}
    meddling.site.succeed()
    assert meddling.site.submitted() == 8
    assert meddling.site.done() == set(range(6))


def test_cancel(sites: Callable[..., Site]) -> None:
    """Those on hold as well."""
    site = sites("+".join(["gate"] * 6), "--no-canary")
    site.fail("--no-poll")
    until(lambda: len(site.begun()) == 4)
    site.queue.hold(site.ids()[5])
    assert "6 jobs removed from the queue" in site.succeed("--cancel", "all")
    until(lambda: site.queue.waiting() == {})
    assert site.submitted() == 6
    assert "There are no jobs in the queue." in site.succeed("--cancel", "all")
    site.go()
    site.succeed()
    assert site.submitted() == 12


def test_edit(sites: Callable[..., Site]) -> None:
    """What waits would make something that nobody wants any more."""
    site = sites("+".join(["gate"] * 5), "--no-canary")
    site.fail("--no-poll", TOY_SETTING="one")
    until(lambda: len(site.begun()) == 4)
    run = site.start(TOY_SETTING="two")
    run.until_said("5 jobs of other code or settings, or of complete branches, were removed")
    site.go()
    run.end()
    assert site.submitted() == 10
    assert site.done() == set(range(5))
