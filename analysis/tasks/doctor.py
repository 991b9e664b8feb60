"""What a worker lacks: the checks of ``analysis doctor`` as a task, so that they run wherever branches do."""

from __future__ import annotations

import json
from collections.abc import Iterator

import law

from analysis.engine.workflow import AnalysisWorkflow


class Doctor(AnalysisWorkflow):
    """Look at the machine of a branch: ``law run Doctor --workflow htcondor``."""

    pinned_list = "columnar"

    def create_branch_map(self) -> dict[int, None]:
        """One worker."""
        return {0: None}

    def output(self) -> law.FileSystemFileTarget:
        """The report as JSON, for ``analysis doctor --from``."""
        return self.target(f"doctor_{self.branch}.json")

    def run(self) -> None:
        """Look. What is red there is no failure of this task."""
        from analysis.engine.doctor.examine import examine

        self.staged(self.output()).write_text(json.dumps(examine().to_json(), indent=1) + "\n")

    def result_lines(self) -> Iterator[str]:
        """The table."""
        from analysis.engine.doctor.finding import Report
        from analysis.engine.doctor.table import lines

        target = self.branch_task(0).output()
        yield from lines(Report.from_json(self.localized(target).read_text(), str(target.path)))
        yield "to look again: law run Doctor --remove-output 0,a,y, with the same parameters"
