"""Stage 1: what is in the input files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import law

from analysis.columnar.errors import InputFileError
from analysis.config.types import InputFile
from analysis.tasks.base import DatasetWorkflow
from analysis.tasks.generate_events import GenerateEvents


class IndexFiles(DatasetWorkflow):
    """Record entries, sum of weights, identity and columns of each input file. One branch per file."""

    preload = ("numpy", "awkward", "uproot")

    def create_branch_map(self) -> dict[int, InputFile]:
        """The files of the data set."""
        return dict(enumerate(self.dataset_inst.files))

    def workflow_requires(self) -> dict[str, Any]:
        """The files, if the campaign generates them."""
        return {"files": GenerateEvents.req(self)} if self.campaign_inst.generated else {}

    def requires(self) -> dict[str, Any]:
        """The file, if the campaign generates it."""
        return {"files": GenerateEvents.req(self, branch=self.branch)} if self.campaign_inst.generated else {}

    def output(self) -> law.LocalFileTarget:
        """A JSON file."""
        return self.local_target(f"index_{self.branch}.json")

    def run(self) -> None:
        """Open the file and look."""
        from analysis.columnar.sources import summarize_file

        path = input_path(self, self.branch)
        summary = summarize_file(path)
        declared = self.branch_data.entries
        if declared is not None and declared != summary.entries:
            msg = f"{path} has {summary.entries} events, but the campaign says {declared}: correct one of them"
            raise InputFileError(msg)
        # the path of a generated file would tie the index to the place of the store
        content = {"path": self.branch_data.path or Path(path).name, **summary._asdict()}
        self.staged(self.output()).write_text(json.dumps(content, indent=1) + "\n")
        self.account(events_out=summary.entries, sum_of_weights=summary.sum_of_weights)


def input_path(task: DatasetWorkflow, file: int) -> str:
    """Path or URL of an input file of a task's data set, generated here or listed by the campaign.

    Args:
        task: a task of the data set.
        file: number of the file.
    """
    if task.campaign_inst.generated:
        return str(GenerateEvents.req_different_branching(task, branch=file).output().path)
    return task.dataset_inst.files[file].path


def read_index(target: law.LocalFileTarget) -> dict[str, Any]:
    """Content of one output of :class:`IndexFiles`."""
    return dict(json.loads(Path(target.path).read_text()))
