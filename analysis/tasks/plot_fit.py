"""The fitted distributions, before and after the fit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from analysis.config import MODEL, VARIABLES, processes_of
from analysis.settings import settings
from analysis.tasks.build_model import BuildModel, TemplatesTask
from analysis.tasks.figures import OBSERVATION_LABELS, FiguresTask, figure_settings
from analysis.tasks.fit_model import FitModel

if TYPE_CHECKING:
    from analysis.stats.prediction import Prediction

PREFIT, POSTFIT = "prefit", "postfit"


class PredictionTask(TemplatesTask):
    """A task that shows what the model predicts before and after the fit."""

    exclude_index = True
    preload: ClassVar[tuple[str, ...]] = ("cabinetry", "pyhf")

    def requires(self) -> dict[str, Any]:
        """The fit, and the model that was fitted."""
        return {"fit": FitModel.req(self), "model": BuildModel.req(self)}

    def predictions(self) -> dict[str, Prediction]:
        """Prediction before and after the fit."""
        from analysis.stats.prediction import predict

        workspace = json.loads(self.localized(self.input()["model"]["workspace"]).read_text())
        return {PREFIT: predict(workspace, MODEL), POSTFIT: predict(workspace, MODEL, self.requires()["fit"].result())}

    def observation_label(self) -> str:
        """What the data points are."""
        return OBSERVATION_LABELS[self.requires()["fit"].observation_kind()]


class PlotFit(PredictionTask, FiguresTask):
    """Draw the fitted distributions with their uncertainty, before and after the fit."""

    preload = (*PredictionTask.preload, *FiguresTask.preload)

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The fitted regions, and how they are shown."""
        fitted = [VARIABLES[region.variable] for region in MODEL.regions]
        return {
            **figure_settings(self.campaign_inst),
            **settings(processes_of(self.campaign_inst), "label", "color", "sample"),
            **settings(MODEL, "regions"),
            **settings(MODEL.regions),
            **settings(fitted, "label", "region", "unit"),
        }

    def figure_names(self) -> list[str]:
        """One figure per region, before and after the fit."""
        return [_figure_name(stage, region.name) for stage in (PREFIT, POSTFIT) for region in MODEL.regions]

    def run(self) -> None:
        """Draw."""
        from analysis.plotting.fit import plot_fit

        for stage, prediction in self.predictions().items():
            figures = plot_fit(prediction, self.campaign_inst, self.observation_label())
            for region, figure in figures.items():
                self.save(_figure_name(stage, region), figure)


def _figure_name(stage: str, region: str) -> str:
    return f"{stage}_{region.replace(' ', '_')}"
