"""Stage 7: histograms, filled per reduced file, then merged per data set and variable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import law

from analysis.columnar.producers import WEIGHTS
from analysis.config import REGIONS, VARIABLES, histogram_shifts, kinematic_shifts
from analysis.config.types import Campaign, Variable
from analysis.tasks.evaluate_model import EvaluateModel
from analysis.tasks.index_files import IndexFiles, read_index
from analysis.tasks.produce_columns import ProduceColumns
from analysis.tasks.reduce_events import ReducedTask, ReducedWorkflow
from analysis.tasks.train_model import FoldsTask

if TYPE_CHECKING:
    from analysis.columnar.table import Table


def histogram_variables(campaign: Campaign) -> list[Variable]:
    """What is filled: without machine learning, nothing that needs the model."""
    return [v for v in VARIABLES.values() if campaign.machine_learning or not v.needs_model]


class FillHistograms(ReducedWorkflow, FoldsTask):
    """Fill all variables under all shifts. One branch per reduced file, one output file per variable."""

    preload = ("numpy", "awkward", "hist", "pyarrow.parquet", "uhi.io.json")

    def workflow_requires(self) -> dict[str, Any]:
        """Columns and scores of all reduced files, and the index of all input files."""
        return {"index": IndexFiles.req_different_branching(self, branch=-1), **self._columns(branch=-1)}

    def requires(self) -> dict[str, Any]:
        """Columns and scores of one reduced file, and the index of all input files."""
        return {"index": IndexFiles.req_different_branching(self, branch=-1), **self._columns(branch=self.branch)}

    def _columns(self, branch: int) -> dict[str, Any]:
        shifts = [s.name for s in kinematic_shifts(self.dataset_inst)]
        required = {"observables": {s: ProduceColumns.req(self, shift=s, branch=branch) for s in shifts}}
        if self.campaign_inst.machine_learning:
            required["scores"] = {s: EvaluateModel.req(self, shift=s, branch=branch) for s in shifts}
        if any(s.kind == "weight" for s in histogram_shifts(self.dataset_inst)):
            required["weights"] = {"nominal": ProduceColumns.req(self, columns=WEIGHTS, branch=branch)}
        return required

    def output(self) -> dict[str, law.LocalFileTarget]:
        """One histogram per variable, by name."""
        return {
            v.name: self.local_target(f"{v.name}_{self.branch}.json") for v in histogram_variables(self.campaign_inst)
        }

    def run(self) -> None:
        """Fill variable by variable."""
        from analysis.columnar.histograms import event_weight, fill
        from analysis.templates import dump_histogram

        index = [read_index(target) for target in self.input()["index"]["collection"].targets.values()]
        weight = event_weight(self.dataset_inst, self.campaign_inst, sum(file["entries"] for file in index))
        shifts = histogram_shifts(self.dataset_inst)
        tables = {shift.name: self._table(shift.name) for shift in shifts if shift.kind != "weight"}
        weights = self._weights()
        for variable in histogram_variables(self.campaign_inst):
            histogram = fill(variable, REGIONS[variable.region], tables, weights, shifts, weight)
            dump_histogram(histogram, self.staged(self.output()[variable.name]))
        self.account(events_in=len(tables["nominal"]), events_out=len(tables["nominal"]), event_weight=weight)

    def _table(self, shift: str) -> Table:
        from analysis.columnar.sources import ParquetSource
        from analysis.columnar.table import Table

        inputs = self.input()
        kinds = [kind for kind in ("observables", "scores") if kind in inputs]
        return Table(ParquetSource(*(Path(inputs[kind][shift].path) for kind in kinds)))

    def _weights(self) -> Table | None:
        from analysis.columnar.sources import ParquetSource
        from analysis.columnar.table import Table

        weights = self.input().get("weights")
        return Table(ParquetSource(Path(weights["nominal"].path))) if weights else None


class MergeHistograms(ReducedTask, FoldsTask):
    """Add the histograms of all reduced files of one data set, one variable after the other."""

    preload = ("hist", "uhi.io.json")

    def requires(self) -> FillHistograms:
        """The histograms of all reduced files."""
        required: FillHistograms = FillHistograms.req(self)
        return required

    def output(self) -> dict[str, law.LocalFileTarget]:
        """One histogram per variable, by name."""
        return {v.name: self.local_target(f"{v.name}.json") for v in histogram_variables(self.campaign_inst)}

    def run(self) -> None:
        """Add."""
        from analysis.templates import dump_histogram, load_histogram

        filled = self.input()["collection"].targets
        for name, target in self.output().items():
            parts = [load_histogram(Path(filled[branch][name].path)) for branch in sorted(filled)]
            dump_histogram(sum(parts[1:], start=parts[0]), self.staged(target))
