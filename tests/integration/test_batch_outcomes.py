"""What jobs may meet on their node, on the real systems: each branch ends as it should, after just so many jobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.integration.batch import Site
from tests.testbed import System, Testbed
from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "slurm", "testbed"]

pytestmark = pytest.mark.integration

BRANCHES = ("done", "bad", "flaky", "killed", "memory", "greedy", "slow", "stopped")


@pytest.fixture(scope="module", params=["htcondor", "slurm"])
def system(request: pytest.FixtureRequest) -> System:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, System)
    return found


@dataclass(frozen=True)
class Outcome:
    """A run in which each branch met another fault."""

    site: Site
    said: str

    def submissions(self, what: str) -> int:
        return len(self.site.results().get(BRANCHES.index(what), []))


@pytest.fixture(scope="module")
def outcome(testbed: Testbed, system: System) -> Iterator[Outcome]:
    """The run: 300 MB of memory at first, 600 MB at most; 8 s at first, 16 s at most."""
    limits = {"LAW__batch__max_memory": "600MB", "LAW__batch__max_runtime": "30s"}
    options = ("--no-canary", "--max-runtime", "8s", "--retries", "3")
    site = Site(testbed, system, testbed.scratch(f"outcome-{system.name}"), "+".join(BRANCHES), options, limits)
    run = site.start()
    stopped = BRANCHES.index("stopped")
    run.until(lambda: stopped in site.begun())
    if system.name == "slurm":  # its limits are minutes
        site.queue.admin("scontrol", "update", f"JobId={site.ids()[stopped]}", "EndTime=now+5")
    yield Outcome(site, run.end(30))
    site.close()
