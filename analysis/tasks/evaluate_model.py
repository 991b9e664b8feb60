"""Stage 6: the best assignment of jets in every event, by a model that has not seen it."""

from __future__ import annotations

from typing import Any

import law

from analysis.columnar.assignments import FEATURE_COLUMNS
from analysis.config import FEATURES
from analysis.settings import settings
from analysis.tasks.produce_columns import ProduceColumns, ReducedShiftWorkflow
from analysis.tasks.reduce_events import ReduceEvents, account_merged
from analysis.tasks.train_model import FoldsTask, TrainModel


class EvaluateModel(ReducedShiftWorkflow, FoldsTask):
    """Score all assignments of jets in region 4j2b and keep the best. One branch per reduced file."""

    preload = ("numpy", "awkward", "vector", "pyarrow.parquet", "xgboost")
    pinned_list = "ml"

    def workflow_requires(self) -> dict[str, Any]:
        """All models, reduced files and their observables."""
        return {
            "models": TrainModel.req_different_branching(self, branch=-1),
            "events": ReduceEvents.req(self),
            "columns": ProduceColumns.req(self),
        }

    def requires(self) -> dict[str, Any]:
        """All models, one reduced file and its observables."""
        return {
            "models": TrainModel.req_different_branching(self, branch=-1),
            "events": ReduceEvents.req(self, branch=self.branch),
            "columns": ProduceColumns.req(self, branch=self.branch),
        }

    def output(self) -> law.FileSystemFileTarget:
        """A parquet file, aligned by row with the reduced events."""
        return self.target(f"scores_{self.branch}.parquet")

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The features in their order, and what the shift replaces."""
        return {"features": [v.name for v in FEATURES], **settings(self.shift_inst, "kind", "replaces")}

    def code_modules(self) -> set[str]:
        """Where the columns are computed that features are made of."""
        return self.modules_behind(FEATURE_COLUMNS)

    def run(self) -> None:
        """Evaluate."""
        import awkward as ak
        import numpy as np

        from analysis.columnar.assignments import feature_blocks
        from analysis.columnar.sources import ParquetSource, write_parquet
        from analysis.columnar.table import Table
        from analysis.ml.evaluation import best_assignments, load_models

        source = ParquetSource(*self.localized_all(self.input()[kind] for kind in ("columns", "events")))
        events = Table(source).shifted(self.shift_inst)
        inside = np.asarray(events["in_4j2b"])
        models = self.input()["models"]["collection"].targets
        files = self.localized_all(models[fold]["model"] for fold in sorted(models))
        boosters = load_models([file.read_bytes() for file in files])
        blocks = [
            block._replace(rows=np.flatnonzero(inside)[block.rows])
            for block in feature_blocks(events.filter(ak.Array(inside)).records(FEATURE_COLUMNS))
        ]
        best = best_assignments(blocks, boosters, np.asarray(events["event"]))
        columns = {
            "bdt_score": best.score,
            **{feature.name: np.ascontiguousarray(best.features[:, i]) for i, feature in enumerate(FEATURES)},
            **{
                f"best_{role}": np.ascontiguousarray(best.jets[:, i])
                for i, role in enumerate(("w1", "w2", "b_had", "b_lep"))
            },
        }
        write_parquet(ak.Array(columns), self.staged(self.output(), entries=len(events), columns=tuple(columns)))
        account_merged(self, self.manifests_of(self.requires()["events"]), len(events))
        self.account(events_scored=int(inside.sum()))
