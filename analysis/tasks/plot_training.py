"""How the classifier learned, and how well it does."""

from __future__ import annotations

import json
from typing import Any

from analysis.columnar.column import modules_behind
from analysis.columnar.producers import TRAINING
from analysis.config import FEATURES
from analysis.ml.training import TrainingCurve
from analysis.tasks.evaluate_model import EvaluateModel
from analysis.tasks.figures import FiguresTask, figure_settings
from analysis.tasks.produce_columns import ProduceColumns
from analysis.tasks.reduce_events import ReduceEvents
from analysis.tasks.train_model import FoldsTask, TrainModel


class PlotTraining(FoldsTask, FiguresTask):
    """Draw learning curves, scores of right and wrong assignments, and the efficiency for the right triplet of jets."""

    pinned_list = "ml"

    def requires(self) -> dict[str, Any]:
        """Models; events, training columns and scores of the data sets they learned from."""
        models = TrainModel.req(self, branch=-1)
        parts = {
            name: {
                "events": ReduceEvents.req(self, dataset=name),
                "columns": ProduceColumns.req(self, dataset=name, columns=TRAINING),
                "scores": EvaluateModel.req(self, dataset=name),
            }
            for name in models.training_datasets()
        }
        return {"models": models, **parts}

    def figure_names(self) -> list[str]:
        """Three figures."""
        return ["learning_curve", "score", "triplet_efficiency"]

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The features in their order, and the label of the campaign."""
        shown = figure_settings(self.campaign_inst, processes=(), regions=False)
        return {"features": [v.name for v in FEATURES], **shown}

    def code_modules(self) -> set[str]:
        """Where jets are selected."""
        return modules_behind({"SelectedJet.parton"}, available={"Jet.parton"})

    def run(self) -> None:
        """Draw."""
        from analysis.ml.diagnostics import split_scores
        from analysis.ml.evaluation import load_models
        from analysis.plotting.training import (
            PermutationEfficiency,
            ScoreHistograms,
            plot_permutation_efficiency,
            plot_score,
            plot_training,
        )

        outputs = self.input()["models"]["collection"].targets
        files = self.localized_all(outputs[fold]["curve"] for fold in sorted(outputs))
        curves = [TrainingCurve.from_json(json.loads(file.read_text())) for file in files]
        self.save("learning_curve", plot_training(curves, self.campaign_inst))

        booster = load_models([self.localized(outputs[0]["model"]).read_bytes()])[0]
        split = split_scores(TrainModel.req(self, branch=0).training_sample(), booster, 0, self.folds)
        right, wrong = ScoreHistograms(*split[:2]), ScoreHistograms(*split[2:])
        self.save("score", plot_score(right, wrong, self.campaign_inst))

        efficiencies = [PermutationEfficiency(*count) for count in self._triplets() if count.events]
        self.save("triplet_efficiency", plot_permutation_efficiency(efficiencies, self.campaign_inst))

    def _triplets(self) -> list[Any]:
        import awkward as ak
        import numpy as np

        from analysis.columnar.sources import ParquetSource
        from analysis.columnar.table import Table
        from analysis.ml.diagnostics import count_triplets

        parton, best, trijet = [], [], []
        for kinds in (value for name, value in self.input().items() if name != "models"):
            files = {kind: collection["collection"].targets for kind, collection in kinds.items()}
            branches = sorted(files["events"])
            paths = (self.localized_all(targets[branch] for branch in branches) for targets in files.values())
            for sources in zip(*paths, strict=True):
                table = Table(ParquetSource(*sources))
                parton.append(table["SelectedJet.parton"])
                best.append(np.stack([np.asarray(table[f"best_{role}"]) for role in ("w1", "w2", "b_had")], axis=1))
                trijet.append(np.asarray(table["trijet_jets"]))
        return count_triplets(ak.concatenate(parton), np.concatenate(best), np.concatenate(trijet))
