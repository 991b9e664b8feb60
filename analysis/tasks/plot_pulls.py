"""What the fit did to the nuisance parameters."""

from __future__ import annotations

from typing import Any

from analysis.tasks.build_model import BuildModel, TemplatesTask
from analysis.tasks.figures import FiguresTask, figure_settings
from analysis.tasks.fit_model import FitModel


class PlotPulls(TemplatesTask, FiguresTask):
    """Draw pulls and correlations of the fit's parameters."""

    def requires(self) -> dict[str, Any]:
        """The fit, and the model that was fitted."""
        return {"fit": FitModel.req(self), "model": BuildModel.req(self)}

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The label of the campaign."""
        return figure_settings(self.campaign_inst, processes=(), regions=False)

    def figure_names(self) -> list[str]:
        """Two figures."""
        return ["pulls", "correlations"]

    def run(self) -> None:
        """Draw."""
        from analysis.plotting.fit import plot_correlations, plot_pulls

        task: FitModel = self.requires()["fit"]
        fit, simulation = task.result(), task.observation_kind() != "data"
        self.save("pulls", plot_pulls(fit, self.campaign_inst, simulation=simulation))
        self.save("correlations", plot_correlations(fit, self.campaign_inst, simulation=simulation))
