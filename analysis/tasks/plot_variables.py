"""Distributions: stacked processes, their uncertainty, and the observation."""

from __future__ import annotations

from typing import Any

from analysis.config import MODEL, VARIABLES
from analysis.engine.workflow import AnalysisWorkflow
from analysis.settings import settings, untracked
from analysis.tasks.figures import OBSERVATION_LABELS, FiguresTask, VariablesTask, figure_settings
from analysis.tasks.fill_histograms import MergeHistograms


class PlotVariables(VariablesTask, FiguresTask, AnalysisWorkflow):
    """Draw variables before the fit. One branch per variable."""

    def create_branch_map(self) -> dict[int, str]:
        """The variables."""
        return dict(enumerate(v.name for v in self.chosen_variables()))

    def branch_value(self, branch: int) -> dict[str, Any]:
        """The variable, and how it is shown."""
        variable = VARIABLES[self.get_branch_map()[branch]]
        return {"variable": variable.name, **settings(variable, "label", "region", "unit", *self.binning_fields())}

    def workflow_requires(self) -> dict[str, MergeHistograms]:
        """The histograms."""
        return self.histogram_requires()

    def requires(self) -> dict[str, MergeHistograms]:
        """The histograms."""
        return self.histogram_requires()

    @untracked
    def template_names(self) -> list[str]:
        """Names of the variables whose histograms are read."""
        return [self.branch_data] if self.is_branch() else super().template_names()

    def figure_names(self) -> list[str]:
        """The variables."""
        return self.template_names()

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """What predictions are made of, and how they are shown."""
        return {
            **figure_settings(self.campaign_inst),
            # published histograms of all variables are in one file, and read together
            **self.template_settings(self.template_names() if self.histograms else []),
            **settings(MODEL, "systematics", "pseudodata", "pseudodata_backgrounds"),
            **settings(MODEL.systematics),
        }

    def run(self) -> None:
        """Draw one variable."""
        from analysis.plotting.stack import plot_stack

        variable = VARIABLES[self.branch_data]
        templates = self.load_templates([variable.name])
        observation = self.observe(templates, [variable.name])
        figure = plot_stack(
            templates,
            variable,
            self.campaign_inst,
            observation.histograms[variable.name],
            OBSERVATION_LABELS[observation.kind],
        )
        self.save(variable.name, figure)
