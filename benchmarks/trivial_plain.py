"""Plain law: a workflow whose branches write a few bytes."""

from __future__ import annotations

import os

import law
import luigi


class PlainTrivial(law.LocalWorkflow):  # type: ignore[misc]
    """As its user would write it; a branch is complete if its file exists."""

    n = luigi.IntParameter()

    def create_branch_map(self) -> dict[int, int]:
        """One branch per number."""
        return {i: i for i in range(self.n)}

    def output(self) -> law.LocalFileTarget:
        """A text file."""
        return law.LocalFileTarget(f"{os.environ['ANALYSIS_STORE']}/plain/{self.n}/{self.branch}.txt")

    def run(self) -> None:
        """Write the number."""
        self.output().dump(str(self.branch), formatter="text")
