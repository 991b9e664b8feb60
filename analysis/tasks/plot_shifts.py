"""Systematic variations against the nominal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import luigi

from analysis.config import MODEL, PROCESSES, SHIFTS, check_known
from analysis.config.types import Systematic, Variable
from analysis.settings import settings, untracked
from analysis.tasks.figures import FiguresTask, VariablesTask, figure_settings
from analysis.tasks.fill_histograms import MergeHistograms


class PlotShifts(VariablesTask, FiguresTask):
    """Draw each shift of one process against its nominal, for the fitted variables."""

    process = luigi.Parameter(default=MODEL.signal, description=f"name of a process; default: {MODEL.signal}")

    path_parameters = VariablesTask.path_parameters | {"process"}

    def store_parts(self) -> tuple[str, ...]:
        """Version, campaign, task, process."""
        return (*super().store_parts(), self.process)

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check the process."""
        check_known("process", params["process"], PROCESSES)
        return dict(super().modify_param_values(params))

    @untracked
    def chosen_variables(self) -> list[Variable]:
        """The variables; the fitted ones by default."""
        fitted = {region.variable for region in MODEL.regions}
        return [v for v in super().chosen_variables() if self.variables or v.name in fitted]

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The variables, the systematics and their shifts, and how they are shown."""
        return {
            **figure_settings(self.campaign_inst, processes=("label",)),
            **self.template_settings(),
            **settings(self.chosen_variables(), "label", "region", "unit"),
            **settings(MODEL, "systematics"),
            **settings(MODEL.systematics),
            **settings(SHIFTS.values(), "kind", "label"),
        }

    def requires(self) -> dict[str, MergeHistograms]:
        """The histograms."""
        return self.histogram_requires()

    def figure_names(self) -> list[str]:
        """Variable and shift."""
        return [name for name, _, _ in self._figures()]

    def _figures(self) -> Iterator[tuple[str, Variable, Systematic]]:
        for variable in self.chosen_variables():
            for systematic in MODEL.systematics:
                if systematic.up and self._exists(systematic):
                    yield f"{variable.name}_{systematic.up.removesuffix('_up')}", variable, systematic

    def _exists(self, systematic: Systematic) -> bool:
        if systematic.processes and self.process not in systematic.processes:
            return False
        names = [name for name in (systematic.up, systematic.down) if name]
        varied = {d.shift for d in self.campaign_inst.datasets.values() if d.process == self.process}
        return bool(self.histograms) or all(SHIFTS[name].kind != "sample" or name in varied for name in names)

    def described_figures(self) -> Iterator[tuple[str, str, str]]:
        """Name, variable and systematic of each figure, for captions."""
        for name, variable, systematic in self._figures():
            yield name, variable.name, systematic.name

    def run(self) -> None:
        """Draw."""
        from analysis.plotting.shifts import plot_shift

        templates = self.load_templates([v.name for v in self.chosen_variables()])
        for name, variable, systematic in self._figures():
            shifts = [shift for shift in (systematic.up, systematic.down) if shift]
            self.save(name, plot_shift(templates, variable, self.process, shifts, self.campaign_inst))
