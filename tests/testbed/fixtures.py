"""Fixtures of tests that need a real batch system or storage; each is started by the first test that asks for it."""

from __future__ import annotations

import pytest

from tests.testbed import System, Testbed, missing
from tests.testbed.storage import Storage


def start(system: System) -> None:
    """Start a system with the testbed's own settings; where that is impossible, the test is skipped."""
    if why := missing():
        pytest.skip(f"{system.name}: {why}; 'sudo tests/testbed/up {system.name}' and run pytest as root")
    system.start()
    with system.settings():  # of a test that was killed
        pass


@pytest.fixture(scope="session")
def testbed() -> Testbed:
    """The user's side of the testbed; ask for ``htcondor`` or ``slurm`` to have a system running."""
    return Testbed()


@pytest.fixture(scope="session")
def htcondor(testbed: Testbed) -> System:
    """The HTCondor pool, running."""
    start(testbed.htcondor)
    assert testbed.repository.is_dir()
    return testbed.htcondor


@pytest.fixture(scope="session")
def slurm(testbed: Testbed) -> System:
    """The Slurm cluster, running."""
    start(testbed.slurm)
    assert testbed.repository.is_dir()
    return testbed.slurm


@pytest.fixture(scope="session")
def storage() -> Storage:
    """The storage servers, running."""
    servers = Storage()
    start(servers)
    return servers
