"""The engine: the tasks of :mod:`benchmarks.plain_law.sandboxed`, and a workflow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import law
import luigi

from analysis.engine.task import AnalysisTask
from analysis.engine.workflow import AnalysisWorkflow
from benchmarks.deeds import Deeds


class OurSandboxed(AnalysisTask, Deeds):
    """Does one thing, see :class:`~benchmarks.deeds.Deeds`."""

    exclude_index = True
    pinned_list = "columnar"

    place = luigi.Parameter(default="", significant=False)
    what = luigi.Parameter(default="see")
    number = luigi.IntParameter(default=0)
    token = luigi.Parameter(default="", significant=False)

    def sandbox_env(self) -> Mapping[str, str]:
        """The token is for this task alone."""
        return {"TOY_TOKEN": self.token} if self.token else {}

    @property
    def priority(self) -> int:
        """Those with a token come first."""
        return int(bool(self.token))

    def output(self) -> law.FileSystemFileTarget:
        """A text file."""
        return self.target(f"seen_{self.number}.json")

    def run(self) -> Any:
        """Do it."""
        self.staged(self.output()).write_text(json.dumps(self.do()))


class OurElsewhere(OurSandboxed):
    """Writes to a place that its user forgot to name in ``law.cfg``."""

    elsewhere = luigi.Parameter(significant=False)

    def output(self) -> law.LocalFileTarget:
        """A text file."""
        return law.LocalFileTarget(str(Path(self.elsewhere, "lost.json")))


class OurMany(law.WrapperTask):  # type: ignore[misc]
    """Many tasks, each in a sandbox."""

    exclude_index = True

    place = luigi.Parameter(default="", significant=False)
    sandbox = luigi.Parameter(significant=False)
    n = luigi.IntParameter()
    token = luigi.Parameter(default="", significant=False)

    def requires(self) -> list[Any]:
        """All of them."""
        common = {"place": self.place, "sandbox": self.sandbox}
        first = OurSandboxed(token=self.token, **common)
        return [first, *(OurSandboxed(number=i, **common) for i in range(1, self.n))]


class OurBranches(AnalysisWorkflow, Deeds):
    """The same in the branches of a workflow."""

    exclude_index = True
    pinned_list = "columnar"

    place = luigi.Parameter(default="", significant=False)
    what = luigi.Parameter(default="see")
    n = luigi.IntParameter()

    def create_branch_map(self) -> dict[int, int]:
        """One branch per number."""
        return {i: i for i in range(self.n)}

    def output(self) -> law.FileSystemFileTarget:
        """A text file."""
        return self.target(f"seen_{self.branch}.json")

    def run(self) -> None:
        """Do it."""
        self.staged(self.output()).write_text(json.dumps(self.do()))
