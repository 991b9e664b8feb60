"""Stage 7: histograms, filled per reduced file, then merged per data set and variable."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import law

from analysis.columnar.producers import WEIGHTS
from analysis.config import REGIONS, VARIABLES, histogram_shifts, kinematic_shifts
from analysis.config.types import Campaign, Variable
from analysis.settings import settings, untracked
from analysis.tasks.evaluate_model import EvaluateModel
from analysis.tasks.index_files import IndexFiles, read_indexes, reconcile_with_index
from analysis.tasks.produce_columns import ProduceColumns
from analysis.tasks.reduce_events import ReducedTask, ReducedWorkflow, account_merged
from analysis.tasks.train_model import FoldsTask

if TYPE_CHECKING:
    from analysis.columnar.table import Table
    from analysis.engine.task import AnalysisTask


@untracked
def histogram_variables(campaign: Campaign) -> list[Variable]:
    """What is filled: without machine learning, nothing that needs the model."""
    return [v for v in VARIABLES.values() if campaign.machine_learning or not v.needs_model]


class FillHistograms(ReducedWorkflow, FoldsTask):
    """Fill all variables under all shifts. One branch per reduced file, one output file per variable."""

    independent_outputs = True
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

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        """One histogram per variable, by name."""
        return {v.name: self.target(f"{v.name}_{self.branch}.json") for v in histogram_variables(self.campaign_inst)}

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:
        """Variables with their regions, shifts, and what normalises the data set."""
        variables = [v for v in histogram_variables(self.campaign_inst) if outputs is None or v.name in outputs]
        return {
            **settings(variables, "column", "region", "bins", "start", "stop"),
            **settings([REGIONS[name] for name in sorted({v.region for v in variables})], "column"),
            **settings(histogram_shifts(self.dataset_inst), "kind", "weight"),
            **settings(self.dataset_inst, "cross_section", "filter_efficiency", "is_data"),
            **settings(self.campaign_inst, "luminosity"),
        }

    def run(self) -> None:
        """Fill variable by variable."""
        from analysis.columnar.histograms import event_weight, fill
        from analysis.templates import dump_histogram

        index = read_indexes(self, self.input()["index"]["collection"].targets.values())
        weight = event_weight(self.dataset_inst, self.campaign_inst, sum(file["entries"] for file in index))
        shifts = histogram_shifts(self.dataset_inst)
        tables = {shift.name: self._table(shift.name) for shift in shifts if shift.kind != "weight"}
        weights = self._weights()
        for variable in histogram_variables(self.campaign_inst):
            histogram = fill(variable, REGIONS[variable.region], tables, weights, shifts, weight)
            dump_histogram(histogram, self.staged(self.output()[variable.name], finite=("*",)))
        account_merged(self, self.manifests_of(self.requires()["observables"]["nominal"]), len(tables["nominal"]))
        self.account(event_weight=weight)

    def needs(self, required: AnalysisTask, outputs: frozenset[str] | None = None) -> Collection[str] | None:
        """The classifier's scores are needed for variables that are made of them only."""
        if outputs is None or not isinstance(required, EvaluateModel):
            return None
        return () if not any(VARIABLES[name].needs_model for name in outputs) else None

    def _table(self, shift: str) -> Table:
        from analysis.columnar.sources import ParquetSource
        from analysis.columnar.table import Table

        inputs = self.input()
        kinds = [kind for kind in ("observables", "scores") if kind in inputs]
        return Table(ParquetSource(*self.localized_all(inputs[kind][shift] for kind in kinds)))

    def _weights(self) -> Table | None:
        from analysis.columnar.sources import ParquetSource
        from analysis.columnar.table import Table

        weights = self.input().get("weights")
        return Table(ParquetSource(self.localized(weights["nominal"]))) if weights else None


class MergeHistograms(ReducedTask, FoldsTask):
    """Add the histograms of all reduced files of one data set, one variable after the other."""

    independent_outputs = True
    preload = ("hist", "uhi.io.json")

    def requires(self) -> dict[str, AnalysisTask]:
        """The histograms of all reduced files, and the index of all input files."""
        return {"filled": FillHistograms.req(self), "index": IndexFiles.req(self)}

    def needs(self, required: AnalysisTask, outputs: frozenset[str] | None = None) -> Collection[str] | None:
        """Each variable is merged from itself."""
        return outputs if isinstance(required, FillHistograms) else None

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        """One histogram per variable, by name."""
        return {v.name: self.target(f"{v.name}.json") for v in histogram_variables(self.campaign_inst)}

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:
        """The variables."""
        return {"variables": sorted(outputs or (v.name for v in histogram_variables(self.campaign_inst)))}

    def run(self) -> None:
        """Add."""
        from analysis.templates import dump_histogram, load_histogram

        index, parts = (self.manifests_of(self.requires()[kind]) for kind in ("index", "filled"))
        reconcile_with_index(self.title(), index, parts)
        filled = self.input()["filled"]["collection"].targets
        for name, target in self.output().items():
            paths = self.localized_all(filled[branch][name] for branch in sorted(filled))
            histograms = [load_histogram(path) for path in paths]
            dump_histogram(sum(histograms[1:], start=histograms[0]), self.staged(target, finite=("*",)))
