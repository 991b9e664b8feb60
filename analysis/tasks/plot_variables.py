"""Distributions: stacked processes, their uncertainty, and the observation."""

from __future__ import annotations

from analysis.tasks.figures import OBSERVATION_LABELS, FiguresTask, VariablesTask
from analysis.tasks.fill_histograms import MergeHistograms


class PlotVariables(VariablesTask, FiguresTask):
    """Draw each variable before the fit."""

    def requires(self) -> dict[str, MergeHistograms]:
        """The histograms."""
        return self.histogram_requires()

    def figure_names(self) -> list[str]:
        """The variables."""
        return [v.name for v in self.chosen_variables()]

    def run(self) -> None:
        """Draw."""
        from analysis.plotting.stack import plot_stack

        templates = self.load_templates(self.figure_names())
        observation = self.observe(templates)
        for variable in self.chosen_variables():
            figure = plot_stack(
                templates,
                variable,
                self.campaign_inst,
                observation.histograms[variable.name],
                OBSERVATION_LABELS[observation.kind],
            )
            self.save(variable.name, figure)
