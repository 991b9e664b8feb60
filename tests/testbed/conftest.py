"""Tests of the testbed use its fixtures."""

from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "slurm", "testbed"]
