"""Fixtures of tests that need a batch system, storage or containers; each is started by the first test that asks."""

from __future__ import annotations

import pytest

from tests.testbed import System, Testbed, missing
from tests.testbed.sandboxes import Sandboxes
from tests.testbed.storage import Storage


def start(system: System) -> None:
    """Start a system; where that is impossible, the test is skipped."""
    if why := missing():
        pytest.skip(f"{system.name}: {why}; 'sudo tests/testbed/up {system.name}' and run pytest as root")
    system.start()


def start_as_it_was(system: System) -> None:
    """Start a system with the testbed's own settings."""
    start(system)
    with system.settings():  # of a test that was killed
        pass


@pytest.fixture(scope="session")
def testbed() -> Testbed:
    """The user's side of the testbed; ask for ``htcondor`` or ``slurm`` to have a system running."""
    return Testbed()


@pytest.fixture(scope="session")
def htcondor(testbed: Testbed) -> System:
    """The HTCondor pool, running."""
    start_as_it_was(testbed.htcondor)
    assert testbed.repository.is_dir()
    return testbed.htcondor


@pytest.fixture(scope="session")
def slurm(testbed: Testbed) -> System:
    """The Slurm cluster, running."""
    start_as_it_was(testbed.slurm)
    assert testbed.repository.is_dir()
    return testbed.slurm


@pytest.fixture(scope="session")
def storage() -> Storage:
    """The storage servers, running."""
    servers = Storage()
    start_as_it_was(servers)
    return servers


@pytest.fixture(scope="session")
def sandboxes() -> Sandboxes:
    """Docker and Apptainer with their images; the first time they are built, which takes two minutes."""
    containers = Sandboxes()
    start(containers)
    return containers
