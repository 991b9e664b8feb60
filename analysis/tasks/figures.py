"""What all tasks share that draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import law

from analysis.config import MODEL, REGIONS, VARIABLES, check_known, processes_of
from analysis.config.types import Campaign, Variable
from analysis.engine.task import AnalysisTask
from analysis.settings import settings, untracked
from analysis.tasks.build_model import TemplatesTask
from analysis.tasks.fill_histograms import histogram_variables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from analysis.stats.observation import Observation, ObservationKind
    from analysis.templates import Templates

OBSERVATION_LABELS: Mapping[ObservationKind, str] = {
    "data": "Data",
    "pseudodata": "Pseudo-data",
    "asimov": "Asimov data",
}


def figure_settings(
    campaign: Campaign, processes: Sequence[str] = ("label", "color"), regions: bool = True
) -> dict[str, Any]:
    """Settings that show in figures.

    Args:
        campaign: for the label and luminosity.
        processes: fields of the processes that are used.
        regions: whether labels of regions are used.
    """
    return {
        **settings(campaign, "energy", "generated", "label", "luminosity"),
        **(settings(processes_of(campaign), *processes) if processes else {}),
        **(settings(REGIONS.values(), "label") if regions else {}),
    }


class FiguresTask(AnalysisTask):
    """A task that draws figures, each as PDF and PNG."""

    exclude_index = True
    preload: ClassVar[tuple[str, ...]] = ("matplotlib.figure", "mplhep", "hist")

    def figure_names(self) -> list[str]:
        """Names of the figures."""
        raise NotImplementedError

    def output(self) -> dict[str, dict[str, law.FileSystemFileTarget]]:
        """PDF and PNG of each figure, by its name."""
        return {name: {kind: self.target(f"{name}.{kind}") for kind in ("pdf", "png")} for name in self.figure_names()}

    def save(self, name: str, figure: Figure) -> None:
        """Write a figure."""
        from analysis.plotting.style import save_figure

        targets = self.output()[name]
        if self.commit is not None and self.commit.stale_inputs:
            # stale inputs are used because law.cfg allows it: whoever sees the figure has to know
            figure.text(0.5, 0.005, f"stale: {', '.join(self.commit.stale_inputs)}", ha="center", size=8, color="red")
        save_figure(figure, self.staged(targets["pdf"]), self.staged(targets["png"]))

    def pngs(self) -> dict[str, Path]:
        """Local paths of the PNGs of all figures, by their names."""
        names = self.figure_names()
        return dict(zip(names, self.localized_all(self.target(f"{name}.png") for name in names), strict=True))


class VariablesTask(TemplatesTask):
    """A task that looks at some variables."""

    exclude_index = True
    pinned_list = "columnar"

    variables = law.CSVParameter(
        default=(),
        description="names of variables; default: empty, all that there are",
    )

    def check(self) -> None:
        """Look at the names."""
        self.chosen_variables()

    @untracked
    def chosen_variables(self) -> list[Variable]:
        """The variables.

        Raises:
            ConfigurationError: for a variable that does not exist.
        """
        if self.histograms:
            known = [VARIABLES[region.variable] for region in MODEL.regions]
        else:
            known = histogram_variables(self.campaign_inst)
        names = [v.name for v in known]
        for name in self.variables:
            check_known("variable", name, names, f"campaign {self.campaign}")
        return [v for v in known if v.name in self.variables or not self.variables]

    @untracked
    def template_names(self) -> list[str]:
        """Names of the variables whose histograms are read: the chosen ones."""
        return [v.name for v in self.chosen_variables()]

    def observe(self, templates: Templates, variables: Sequence[str] | None = None) -> Observation:
        """What is compared with the prediction.

        Args:
            templates: the templates.
            variables: names of the variables; ``None`` for all that are chosen.
        """
        from analysis.stats.observation import observe

        return observe(MODEL, templates, self.template_names() if variables is None else variables)
