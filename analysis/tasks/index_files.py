"""Stage 1: what is in the input files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import law

from analysis.columnar.errors import InputFileError
from analysis.columnar.identity import file_identity
from analysis.config.types import InputFile
from analysis.engine.accounting import Span, reconcile_spans, reconcile_sums
from analysis.engine.storage.base import RemoteError
from analysis.settings import settings, untracked
from analysis.tasks.base import DatasetWorkflow
from analysis.tasks.generate_events import GenerateEvents

if TYPE_CHECKING:
    from analysis.columnar.sources import Opener
    from analysis.engine.manifest import Manifest
    from analysis.engine.task import AnalysisTask


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

    def output(self) -> law.FileSystemFileTarget:
        """A JSON file."""
        return self.target(f"index_{self.branch}.json")

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
        with opened_input(path) as opener:
            summary = summarize_file(path, opener)
        if declared is not None and declared != summary.entries:
            msg = f"{path} has {summary.entries} events, but the campaign says {declared}: correct one of them"
            raise InputFileError(msg)
        # the path of a generated file would tie the index to the place of the store
        content = {"path": self.branch_data.path or file_name(self, self.branch), **summary._asdict()}
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
        return str(task.localized(GenerateEvents.req_different_branching(task, branch=file).output()))
    return task.dataset_inst.files[file].path


@contextmanager
def opened_input(path: str) -> Iterator[Opener | None]:
    """How an input file is opened; it is opened once, and can be read until the end of the block.

    Args:
        path: path or URL.

    Yields:
        What opens it; ``None`` for a file on this machine.

    Raises:
        RemoteError: if a server does not give it.
    """
    from analysis.engine.storage.reading import opening

    try:
        with opening(path) as opener:
            yield opener
    except InputFileError as error:
        if isinstance(error.__cause__, RemoteError):  # says more, and whether it is worth another try
            raise error.__cause__ from None
        raise


def file_label(task: DatasetWorkflow, file: int) -> str:
    """Name of an input file, for people; different for each file of a data set."""
    return f"{file_name(task, file)} (file {file})"


@untracked
def file_name(task: DatasetWorkflow, file: int) -> str:
    """Last part of the path of an input file."""
    if task.campaign_inst.generated:
        return str(GenerateEvents.req_different_branching(task, branch=file).output_paths()[0].name)
    return Path(task.dataset_inst.files[file].path).name


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


def read_index(task: AnalysisTask, target: law.FileSystemFileTarget) -> dict[str, Any]:
    """Content of one output of :class:`IndexFiles`.

    Args:
        task: that requires it.
        target: the output.
    """
    return read_indexes(task, [target])[0]


def read_indexes(task: AnalysisTask, targets: Iterable[law.FileSystemFileTarget]) -> list[dict[str, Any]]:
    """The same for several of them."""
    return [dict(json.loads(path.read_text())) for path in task.localized_all(targets)]
