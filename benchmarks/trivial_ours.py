"""The engine: the workflow of :mod:`benchmarks.trivial_plain`, with recipes, locks, verification and manifests."""

from __future__ import annotations

import law
import luigi

from analysis.engine.workflow import AnalysisWorkflow


class OurTrivial(AnalysisWorkflow):
    """As its user would write it."""

    n = luigi.IntParameter()

    def create_branch_map(self) -> dict[int, int]:
        """One branch per number."""
        return {i: i for i in range(self.n)}

    def output(self) -> law.FileSystemFileTarget:
        """A text file."""
        return self.target(f"{self.branch}.txt")

    def run(self) -> None:
        """Write the number."""
        self.staged(self.output()).write_text(str(self.branch))
