"""Tests of the testbed use its fixtures."""

from tests.testbed.fixtures import htcondor, slurm, storage, testbed

__all__ = ["htcondor", "slurm", "storage", "testbed"]
