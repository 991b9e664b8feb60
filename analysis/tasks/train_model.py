"""Stage 5: training of the classifier, one model per fold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import law
import luigi

from analysis.columnar.producers import IDENTITY, TRAINING, is_trained_on
from analysis.config import ConfigurationError
from analysis.engine.workflow import AnalysisWorkflow
from analysis.ml.folds import FoldError
from analysis.settings import untracked
from analysis.tasks.base import CampaignTask
from analysis.tasks.index_files import IndexFiles, reconcile_with_index
from analysis.tasks.produce_columns import ProduceColumns
from analysis.tasks.reduce_events import ReducedTask, ReduceEvents

if TYPE_CHECKING:
    from analysis.ml.training import TrainingSample


class FoldsTask(CampaignTask):
    """A task that depends on the trained models."""

    exclude_index = True

    chunk_size = ReducedTask.chunk_size
    merge_chunks = ReducedTask.merge_chunks
    folds = luigi.IntParameter(default=5, description="number of folds of the classifier's training; default: 5")

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check the number of folds."""
        if params["folds"] < 2:
            msg = f"--folds is {params['folds']}, but at least 2 are needed"
            raise FoldError(msg)
        return dict(super().modify_param_values(params))


class TrainModel(FoldsTask, AnalysisWorkflow):
    """Train the classifier that assigns jets to quarks. One branch per fold."""

    preload = ("numpy", "awkward", "pyarrow.parquet", "xgboost", "sklearn")
    pinned_list = "ml"

    def create_branch_map(self) -> dict[int, int]:
        """Folds."""
        return {fold: fold for fold in range(self.folds)}

    @untracked
    def training_datasets(self) -> list[str]:
        """Names of the data sets to learn from.

        Raises:
            ConfigurationError: if the campaign has none.
        """
        names = [d.name for d in self.campaign_inst.datasets.values() if is_trained_on(d, self.campaign_inst)]
        if not names:
            msg = (
                f"campaign {self.campaign} has nothing to train the classifier on: "
                "it needs a nominal ttbar data set and machine_learning: true"
            )
            raise ConfigurationError(msg)
        return names

    def workflow_requires(self) -> dict[str, Any]:
        """Features and identities of the events to learn from."""
        return {
            name: {
                "events": ReduceEvents.req_different_branching(self, dataset=name, branch=-1),
                "columns": ProduceColumns.req_different_branching(self, dataset=name, columns=TRAINING, branch=-1),
                "index": IndexFiles.req_different_branching(self, dataset=name, branch=-1),
            }
            for name in self.training_datasets()
        }

    def requires(self) -> dict[str, Any]:
        """The same for each fold."""
        return self.workflow_requires()

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        """Model in xgboost's JSON, and its learning curve."""
        return {
            "model": self.target(f"model_{self.branch}.json"),
            "curve": self.target(f"curve_{self.branch}.json"),
        }

    def run(self) -> None:
        """Train the model of one fold."""
        from analysis.ml.training import train_fold

        for name, required in self.requires().items():
            index, parts = (self.manifests_of(required[kind]) for kind in ("index", "columns"))
            reconcile_with_index(f"{self.title()} from {name}", index, parts)
        sample = self.training_sample()
        model, curve = train_fold(sample, self.branch, self.folds)
        self.staged(self.output()["model"]).write_bytes(model)
        self.staged(self.output()["curve"]).write_text(json.dumps(curve.to_json()) + "\n")
        self.account(events_in=len(sample.target), events_out=curve.events)

    def training_sample(self) -> TrainingSample:
        """Events of all folds that have a right assignment."""
        import numpy as np

        from analysis.columnar.sources import ParquetSource
        from analysis.columnar.table import Table
        from analysis.ml.training import TrainingSample

        identity, features, target = [], [], []
        for required in self.requires().values():
            events, columns = (required[kind].output()["collection"].targets for kind in ("events", "columns"))
            branches = sorted(events)
            paths = (self.localized_all(targets[branch] for branch in branches) for targets in (events, columns))
            for pair in zip(*paths, strict=True):
                table = Table(ParquetSource(*pair))
                used = np.asarray(table["training_target"]) >= 0
                identity.append(np.stack([np.asarray(table[name])[used] for name in IDENTITY], axis=1))
                features.append(_dense(table["training_features"][used]))
                target.append(np.asarray(table["training_target"])[used])
        return TrainingSample(np.concatenate(identity), np.concatenate(features), np.concatenate(target))


def _dense(rows: Any) -> Any:
    """Array of shape ``(events, 12, 20)`` from nested lists of these lengths."""
    import awkward as ak
    import numpy as np

    flat = np.asarray(ak.flatten(rows, axis=None), dtype=np.float32)
    return flat.reshape(len(rows), 12, 20)
