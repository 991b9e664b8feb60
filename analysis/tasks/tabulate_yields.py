"""Yields per region, before and after the fit, rounded as the Particle Data Group does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import law

from analysis.config import MODEL, REGIONS, processes_of
from analysis.settings import settings
from analysis.tasks.figures import OBSERVATION_LABELS
from analysis.tasks.plot_fit import PredictionTask

if TYPE_CHECKING:
    from analysis.plotting.tables import Table, TableFormat

FORMATS: tuple[TableFormat, ...] = ("txt", "tex", "html")


class TabulateYields(PredictionTask):
    """Tabulate expected, fitted and observed events as text, LaTeX and HTML."""

    preload = (*PredictionTask.preload, "scinum", "hist")

    def requires(self) -> dict[str, Any]:
        """The fit, the model that was fitted, and the histograms."""
        return {**super().requires(), "histograms": self.histogram_requires()}

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        """One file per table and format."""
        return {
            f"{table}.{kind}": self.target(f"{table}.{kind}")
            for table in ("yields", "fitted_yields")
            for kind in FORMATS
        }

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """What predictions are made of, and the names in the tables."""
        return {
            **self.prediction_settings(),
            **settings(REGIONS.values(), "label"),
            **settings(processes_of(self.campaign_inst), "label", "sample"),
        }

    def tables(self) -> dict[str, Table]:
        """Events of the whole regions, and of the fitted bins before and after the fit."""
        from analysis.plotting.tables import tabulate_predictions, tabulate_yields
        from analysis.stats.observation import observe

        templates = self.load_templates([region.variable for region in MODEL.regions])
        observation = observe(MODEL, templates)
        label = OBSERVATION_LABELS[observation.kind]
        return {
            "yields": tabulate_yields(templates, observation.histograms, label),
            "fitted_yields": tabulate_predictions(list(self.predictions().values()), label),
        }

    def run(self) -> None:
        """Tabulate."""
        from analysis.plotting.tables import write_table

        for name, table in self.tables().items():
            for kind in FORMATS:
                self.staged(self.output()[f"{name}.{kind}"]).write_text(write_table(table, kind))
