"""The cutflow as a table, a figure and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import law
import luigi

from analysis.columnar.cutflow import Cutflow, add_cutflows
from analysis.config import SELECTION, SHIFTS, check_known
from analysis.settings import settings
from analysis.tasks.base import CampaignTask
from analysis.tasks.figures import FiguresTask, figure_settings
from analysis.tasks.index_files import IndexFiles, reconcile_with_index
from analysis.tasks.reduce_events import ReducedTask
from analysis.tasks.select_events import SelectEvents


class PlotCutflow(CampaignTask, FiguresTask):
    """Print and draw how many events each step of the selection leaves."""

    dataset = luigi.Parameter(default="", description="name of a data set; default: empty, all of the campaign")
    chunk_size = ReducedTask.chunk_size

    path_parameters = CampaignTask.path_parameters | {"dataset"}

    def store_parts(self) -> tuple[str, ...]:
        """Version, campaign, task, data set."""
        return (*super().store_parts(), self.dataset or "all")

    def check(self) -> None:
        """Look at the name."""
        self.dataset_names()

    def dataset_names(self) -> list[str]:
        """The data sets.

        Raises:
            ConfigurationError: for a data set that the campaign does not have.
        """
        names = list(self.campaign_inst.datasets)
        if self.dataset:
            check_known("data set", self.dataset, names, f"campaign {self.campaign}")
        return [self.dataset] if self.dataset else names

    def requires(self) -> dict[str, Any]:
        """The selection of each data set, and the index of its files."""
        return {
            name: {"selection": SelectEvents.req(self, dataset=name), "index": IndexFiles.req(self, dataset=name)}
            for name in self.dataset_names()
        }

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Labels of steps, regions, processes and data sets."""
        datasets = [self.campaign_inst.datasets[name] for name in self.dataset_names()]
        return {
            **figure_settings(self.campaign_inst),
            **settings(self.campaign_inst, "datasets"),
            **settings(datasets, "process", "shift", "is_data"),
            **settings(SELECTION, "label"),
            **settings([SHIFTS[name] for name in dict.fromkeys(d.shift for d in datasets)], "label"),
        }

    def figure_names(self) -> list[str]:
        """One figure."""
        return ["cutflow"]

    def output(self) -> dict[str, Any]:
        """The figure, and the numbers as JSON."""
        return {**super().output(), "json": self.target("cutflow.json")}

    def run(self) -> None:
        """Add up and draw."""
        from analysis.plotting.cutflow import plot_cutflow

        for name, required in self.requires().items():
            index, parts = (self.manifests_of(required[kind]) for kind in ("index", "selection"))
            reconcile_with_index(f"{self.title()} of {name}", index, parts)
        cutflows = [self._add(inputs["selection"]["collection"]) for inputs in self.input().values()]
        content = [cutflow.to_json() for cutflow in cutflows]
        self.staged(self.output()["json"]).write_text(json.dumps(content, indent=1) + "\n")
        self.save("cutflow", plot_cutflow(cutflows, self.campaign_inst))

    def _add(self, collection: law.TargetCollection) -> Cutflow:
        branches = collection.targets
        files = self.localized_all(branches[b]["cutflow"] for b in sorted(branches))
        return add_cutflows(Cutflow.from_json(json.loads(file.read_text())) for file in files)

    def cutflows(self) -> list[Cutflow]:
        """The cutflows; the task has to be complete."""
        content = json.loads(self.localized(self.output()["json"]).read_text())
        return [Cutflow.from_json(entry) for entry in content]

    def result_lines(self) -> Iterator[str]:
        """The table."""
        from analysis.plotting.tables import cutflow_table

        yield cutflow_table(self.cutflows())
