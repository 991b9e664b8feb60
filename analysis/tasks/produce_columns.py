"""Stage 4: derived columns, aligned by row with the reduced events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import law
import luigi

from analysis.columnar.column import modules_behind
from analysis.columnar.producers import OBSERVABLES, PRODUCERS, produced_columns, reduced_columns
from analysis.settings import settings, untracked
from analysis.tasks.base import ShiftTask
from analysis.tasks.reduce_events import ReducedWorkflow, ReduceEvents, account_merged


class ReducedShiftWorkflow(ReducedWorkflow, ShiftTask):
    """A workflow with one branch per reduced file, run once per kinematic shift."""

    exclude_index = True

    @untracked
    def modules_behind(self, columns: Iterable[str]) -> set[str]:
        """Modules that compute columns from the reduced events, under the shift."""
        shifted = {new for _, new in self.shift_inst.replaces}
        return modules_behind({*columns, *shifted}, available=reduced_columns(self.dataset_inst, self.campaign_inst))


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

    def output(self) -> law.FileSystemFileTarget:
        """A parquet file."""
        return self.target(f"columns_{self.branch}.parquet")

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The columns, and what the shift replaces."""
        columns = sorted(set(produced_columns(self.columns, self.dataset_inst)))
        return {"columns": columns, **settings(self.shift_inst, "kind", "replaces")}

    def code_modules(self) -> set[str]:
        """Where the columns are computed."""
        return self.modules_behind(produced_columns(self.columns, self.dataset_inst))

    def run(self) -> None:
        """Compute."""
        from analysis.columnar.sources import ParquetSource, write_parquet
        from analysis.columnar.table import Table

        events = Table(ParquetSource(self.localized(self.input()["events"])))
        columns = produced_columns(self.columns, self.dataset_inst)
        staged = self.staged(self.output(), entries=len(events), columns=columns)
        write_parquet(events.shifted(self.shift_inst).records(columns), staged)
        account_merged(self, self.manifests_of(self.requires()["events"]), len(events))
