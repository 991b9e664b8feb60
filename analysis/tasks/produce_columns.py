"""Stage 4: derived columns, aligned by row with the reduced events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import law
import luigi

from analysis.columnar.producers import OBSERVABLES, PRODUCERS, produced_columns
from analysis.tasks.base import ShiftTask
from analysis.tasks.reduce_events import ReducedWorkflow, ReduceEvents


class ReducedShiftWorkflow(ReducedWorkflow, ShiftTask):
    """A workflow with one branch per reduced file, run once per kinematic shift."""

    exclude_index = True


class ProduceColumns(ReducedShiftWorkflow):
    """Compute one group of column functions on the reduced events. One branch per reduced file."""

    columns = luigi.ChoiceParameter(
        choices=PRODUCERS,
        default=OBSERVABLES,
        description=f"group of columns; default: {OBSERVABLES}",
    )

    path_parameters = ReducedShiftWorkflow.path_parameters | {"columns"}
    preload = ("numpy", "awkward", "vector", "correctionlib", "pyarrow.parquet")

    def store_parts(self) -> tuple[str, ...]:
        """Version, campaign, task, data set, shift, group."""
        return (*super().store_parts(), self.columns)

    def workflow_requires(self) -> dict[str, Any]:
        """All reduced files."""
        return {"events": ReduceEvents.req(self)}

    def requires(self) -> dict[str, Any]:
        """The reduced file."""
        return {"events": ReduceEvents.req(self, branch=self.branch)}

    def output(self) -> law.LocalFileTarget:
        """A parquet file."""
        return self.local_target(f"columns_{self.branch}.parquet")

    def run(self) -> None:
        """Compute."""
        from analysis.columnar.sources import ParquetSource, write_parquet
        from analysis.columnar.table import Table

        events = Table(ParquetSource(Path(self.input()["events"].path)))
        columns = produced_columns(self.columns, self.dataset_inst)
        write_parquet(events.shifted(self.shift_inst).records(columns), self.staged(self.output()))
        self.account(events_in=len(events), events_out=len(events))
