"""The cutflow as a table, a figure and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import law
import luigi

from analysis.columnar.cutflow import Cutflow, add_cutflows
from analysis.config import check_known
from analysis.tasks.base import CampaignTask
from analysis.tasks.figures import FiguresTask
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

    def requires(self) -> dict[str, SelectEvents]:
        """The selection of each data set."""
        return {name: SelectEvents.req(self, dataset=name) for name in self.dataset_names()}

    def figure_names(self) -> list[str]:
        """One figure."""
        return ["cutflow"]

    def output(self) -> dict[str, Any]:
        """The figure, and the numbers as JSON."""
        return {**super().output(), "json": self.local_target("cutflow.json")}

    def run(self) -> None:
        """Add up and draw."""
        from analysis.plotting.cutflow import plot_cutflow

        cutflows = [self._add(collection["collection"]) for collection in self.input().values()]
        content = [cutflow.to_json() for cutflow in cutflows]
        self.staged(self.output()["json"]).write_text(json.dumps(content, indent=1) + "\n")
        self.save("cutflow", plot_cutflow(cutflows, self.campaign_inst))

    def _add(self, collection: law.TargetCollection) -> Cutflow:
        branches = collection.targets
        files = [Path(branches[b]["cutflow"].path) for b in sorted(branches)]
        return add_cutflows(Cutflow.from_json(json.loads(file.read_text())) for file in files)

    def cutflows(self) -> list[Cutflow]:
        """The cutflows; the task has to be complete."""
        content = json.loads(Path(self.output()["json"].path).read_text())
        return [Cutflow.from_json(entry) for entry in content]

    def result_lines(self) -> Iterator[str]:
        """The table."""
        from analysis.plotting.tables import cutflow_table

        yield cutflow_table(self.cutflows())
