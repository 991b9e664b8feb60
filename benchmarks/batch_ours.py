"""The engine: the workflow of :mod:`benchmarks.plain_law`, with recipes, locks, verification and manifests."""

from __future__ import annotations

import time

import law
import luigi

from analysis.engine.workflow import AnalysisWorkflow


class OurJobs(AnalysisWorkflow):
    """As its user would write it."""

    n = luigi.IntParameter(description="number of branches")
    seconds = luigi.FloatParameter(default=0.0, significant=False, description="that each branch takes")
    slow = law.CSVParameter(cls=luigi.IntParameter, default=(), significant=False, description="only these take long")
    fails = law.CSVParameter(cls=luigi.IntParameter, default=(), significant=False, description="branches that fail")

    def create_branch_map(self) -> dict[int, int]:
        """One branch per number."""
        return {i: i for i in range(self.n)}

    def output(self) -> law.FileSystemFileTarget:
        """A text file."""
        return self.target(f"{self.branch}.txt")

    def run(self) -> None:
        """Write the number."""
        if not self.slow or self.branch in self.slow:
            time.sleep(self.seconds)
        if self.branch in self.fails:
            msg = f"branch {self.branch} fails"
            raise ValueError(msg)
        self.staged(self.output()).write_text(str(self.branch))
