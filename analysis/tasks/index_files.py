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

        path = str(self.input()["files"].path) if self.campaign_inst.generated else self.branch_data.path
        summary = summarize_file(path)
        declared = self.branch_data.entries
        if declared is not None and declared != summary.entries:
            msg = f"{path} has {summary.entries} events, but the campaign says {declared}: correct one of them"
            raise InputFileError(msg)
        content = {"path": path, **summary._asdict()}
        self.staged(self.output()).write_text(json.dumps(content, indent=1) + "\n")
        self.account(events_out=summary.entries, sum_of_weights=summary.sum_of_weights)


def read_index(target: law.LocalFileTarget) -> dict[str, Any]:
    """Content of one output of :class:`IndexFiles`."""
    return dict(json.loads(Path(target.path).read_text()))
