"""Tests of the testbed use its fixtures."""

from tests.testbed.fixtures import htcondor, sandboxes, slurm, storage, testbed

__all__ = ["htcondor", "sandboxes", "slurm", "storage", "testbed"]
