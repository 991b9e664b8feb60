"""Stage 1: what is in the input files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import law

from analysis.columnar.errors import InputFileError
from analysis.columnar.identity import file_identity
from analysis.config.types import InputFile
from analysis.engine.accounting import Span, reconcile_spans, reconcile_sums
from analysis.settings import settings, untracked
from analysis.tasks.base import DatasetWorkflow
from analysis.tasks.generate_events import GenerateEvents

if TYPE_CHECKING:
    from analysis.engine.manifest import Manifest


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

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Whether the files are generated."""
        return settings(self.campaign_inst, "generated")

    def branch_value(self, branch: int) -> Any:
        """The declared number of events; which file it is, its identity says."""
        return self.dataset_inst.files[branch].entries

    def external_inputs(self, branch: int | None) -> dict[str, str | None]:
        """Identity of the file, unless it is generated."""
        if branch is None or self.campaign_inst.generated:
            return {}
        path = self.dataset_inst.files[branch].path
        return {Path(path).name: file_identity(path)}

    def run(self) -> None:
        """Open the file and look."""
        from analysis.columnar.sources import summarize_file

        path, declared = input_path(self, self.branch), self.branch_data.entries
        summary = summarize_file(path)
        if declared is not None and declared != summary.entries:
            msg = f"{path} has {summary.entries} events, but the campaign says {declared}: correct one of them"
            raise InputFileError(msg)
        # the path of a generated file would tie the index to the place of the store
        content = {"path": self.branch_data.path or Path(path).name, **summary._asdict()}
        if not self.campaign_inst.generated:
            content["identity"] = file_identity(path)  # what is made of the file is made of this content
        self.staged(self.output()).write_text(json.dumps(content, indent=1) + "\n")
        self.account(events_out=summary.entries, sum_of_weights=summary.sum_of_weights)
        self.account_spans([Span(file_label(self, self.branch), 0, summary.entries)])


@untracked
def input_files(task: DatasetWorkflow, files: Iterable[int] = ()) -> dict[str, Any]:
    """What a task requires that reads input files: the tasks that generate them, if any do.

    Args:
        task: the task; a whole workflow reads all files.
        files: numbers of the files that a branch reads.
    """
    if not task.campaign_inst.generated:
        return {}
    if task.is_whole_workflow():
        return {"files": GenerateEvents.req_different_branching(task)}
    return {"files": [GenerateEvents.req_different_branching(task, branch=file) for file in files]}


@untracked
def input_path(task: DatasetWorkflow, file: int) -> str:
    """Path or URL of an input file of a task's data set, generated here or listed by the campaign.

    Args:
        task: a task of the data set.
        file: number of the file.
    """
    if task.campaign_inst.generated:
        return str(GenerateEvents.req_different_branching(task, branch=file).output().path)
    return task.dataset_inst.files[file].path


def file_label(task: DatasetWorkflow, file: int) -> str:
    """Name of an input file, for people; different for each file of a data set."""
    return f"{Path(input_path(task, file)).name} (file {file})"


def reconcile_with_index(where: str, index: Sequence[Manifest], parts: Sequence[Manifest]) -> None:
    """Check that what is merged stands for all events of all files of a data set, each of them once.

    Args:
        where: title of the task that merges.
        index: manifests of :class:`IndexFiles`.
        parts: manifests of what is merged.

    Raises:
        AccountingError: naming the files of which events are lost or doubled.
    """
    entries = {source: stop for manifest in index for source, _, stop in manifest.spans}
    reconcile_spans(where, (Span(*span) for manifest in parts for span in manifest.spans), entries)
    total = math.fsum(manifest.accounting["sum_of_weights"] for manifest in index)
    sums = {f"branch {manifest.branch}": manifest.accounting["sum_of_weights"] for manifest in parts}
    reconcile_sums(where, sums, total, "sum of weights")


def read_index(target: law.LocalFileTarget) -> dict[str, Any]:
    """Content of one output of :class:`IndexFiles`."""
    return dict(json.loads(Path(target.path).read_text()))
