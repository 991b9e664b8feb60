"""What is sent to jobs where there is no shared file system."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.test_batch_chain import Place
from tests.testbed import Testbed


@dataclass(frozen=True)
class Sent:
    """Code and packages: made, and unpacked, once for all places that use them.

    Args:
        bundles: directory of what is sent.
        packages: where it is unpacked, for ``ANALYSIS_WORKER_CACHE``: else each job does so.
    """

    bundles: Path
    packages: Path

    def use(self, where: Place) -> None:
        """Have it used by the jobs of a place."""
        jobs = where.home / "jobs"
        jobs.mkdir(parents=True)
        (jobs / "bundles").symlink_to(self.bundles)
        for folder in (where.home, jobs):
            shutil.chown(folder, where.testbed.user, where.testbed.user)


@contextmanager
def sending(testbed: Testbed) -> Iterator[Sent]:
    """Empty at first, removed in the end: a GB."""
    name = secrets.token_hex(4)
    found = Sent(testbed.scratch(f"bundles_{name}"), testbed.scratch(f"packages_{name}"))
    try:
        yield found
    finally:
        for folder in (found.bundles, found.packages):
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def sent(testbed: Testbed) -> Iterator[Sent]:
    """The same for all tests of a module."""
    with sending(testbed) as found:
        yield found
