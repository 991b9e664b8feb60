"""Stage 3: slim events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import law
import luigi

from analysis.columnar.column import modules_behind
from analysis.columnar.producers import reduced_columns
from analysis.engine.accounting import Span, merge_spans, reconcile_counts
from analysis.tasks.base import ChunkedTask, DatasetWorkflow
from analysis.tasks.index_files import IndexFiles, input_files, input_path, opened_input, read_index
from analysis.tasks.select_events import Chunk, SelectEvents, chunk_steps

if TYPE_CHECKING:
    from analysis.engine.manifest import Manifest
    from analysis.engine.task import AnalysisTask


class ReducedTask(ChunkedTask):
    """A task that depends on how chunks are merged into reduced files."""

    exclude_index = True

    merge_chunks = luigi.IntParameter(
        default=8,
        description="largest number of chunks that are merged into one reduced file; default: 8",
    )


class ReducedWorkflow(ReducedTask, DatasetWorkflow):
    """A workflow with one branch per reduced file."""

    exclude_index = True

    def create_branch_map(self) -> dict[int, list[int]]:
        """Chunks (branches of SelectEvents) of each reduced file: neighbours, in groups of even size."""
        chunks = sorted(SelectEvents.req_different_branching(self, branch=-1).branch_map)
        return dict(enumerate(even_groups(chunks, self.merge_chunks)))


class ReduceEvents(ReducedWorkflow):
    """Keep the selected events and objects, and the columns that later stages use. One branch per reduced file."""

    preload = ("numpy", "awkward", "uproot", "vector", "correctionlib", "pyarrow.parquet")

    def workflow_requires(self) -> dict[str, Any]:
        """The files, if they are generated, their index and the selection of all chunks."""
        return {
            **input_files(self),
            "selection": SelectEvents.req_different_branching(self, branch=-1),
            "index": IndexFiles.req_different_branching(self, branch=-1),
        }

    def requires(self) -> dict[str, Any]:
        """The selection of the chunks of this reduced file, and their files with the index."""
        chunks = SelectEvents.req_different_branching(self, branch=-1).branch_map
        numbers = self.branch_data
        return {
            **input_files(self, sorted({chunks[n].file for n in numbers})),
            "selection": [SelectEvents.req_different_branching(self, branch=n) for n in numbers],
            "index": [IndexFiles.req_different_branching(self, branch=chunks[n].file) for n in numbers],
        }

    def output(self) -> law.FileSystemFileTarget:
        """A parquet file."""
        return self.target(f"events_{self.branch}.parquet")

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """The columns that are kept."""
        columns = reduced_columns(self.dataset_inst, self.campaign_inst)
        return {"columns": columns, "events per chunk": self.events_per_chunk}

    def code_modules(self) -> set[str]:
        """Where columns are computed that cannot be computed later."""
        return modules_behind(reduced_columns(self.dataset_inst, self.campaign_inst))

    def run(self) -> None:
        """Reduce chunk by chunk, and merge."""
        import awkward as ak

        from analysis.columnar.sources import write_parquet

        columns = reduced_columns(self.dataset_inst, self.campaign_inst)
        chunks = SelectEvents.req_different_branching(self, branch=-1).branch_map
        inputs = zip(self.branch_data, self.input()["selection"], self.input()["index"], strict=True)
        parts = [
            part
            for number, selection, index in inputs
            for part in self._reduce_chunk(
                chunks[number], self.localized(selection["selection"]), read_index(self, index)["entries"], columns
            )
        ]
        events = ak.concatenate(parts)
        write_parquet(events, self.staged(self.output(), entries=len(events)))
        account_merged(self, self.manifests_of(self.requires()["selection"]), len(events))

    def _reduce_chunk(self, chunk: Chunk, selection: Path, entries: int, columns: list[str]) -> list[Any]:
        import awkward as ak

        from analysis.columnar.select import reduce
        from analysis.columnar.sources import NanoAODSource
        from analysis.columnar.table import Table

        selected = ak.from_parquet(selection)
        parts = []
        path = input_path(self, chunk.file)
        with opened_input(path) as opener:
            for offset, (start, stop) in chunk_steps(chunk, entries, self.events_per_chunk):
                inside = selected[(selected.entry >= offset) & (selected.entry < offset + stop - start)]
                inside["entry"] = inside["entry"] - offset
                parts.append(reduce(Table(NanoAODSource(path, start, stop, opener)), inside, columns))
        return parts


def account_merged(task: AnalysisTask, parts: Sequence[Manifest], events: int) -> None:
    """Record what the outputs of a task stand for, which are aligned with or merged from those of others.

    Args:
        task: the task that runs.
        parts: manifests of what it is made of.
        events: number of events that it has written.

    Raises:
        AccountingError: if that is not how many events the parts have, or some events are there twice.
    """
    counts = {f"{part.task} branch {part.branch}": int(part.accounting["events_out"]) for part in parts}
    reconcile_counts(task.title(), counts, events, "events")
    weights = math.fsum(part.accounting["sum_of_weights"] for part in parts)
    task.account(events_in=events, events_out=events, sum_of_weights=weights)
    task.account_spans(merge_spans(Span(*span) for part in parts for span in part.spans))


def even_groups(items: list[int], size: int) -> list[list[int]]:
    """Cut a list into groups of neighbours, as few as ``size`` allows, of sizes that differ by at most one.

    Examples:
        >>> even_groups([0, 1, 2, 3, 4], 4)
        [[0, 1], [2, 3, 4]]
    """
    n = max(1, -(-len(items) // max(1, size)))
    bounds = [i * len(items) // n for i in range(n + 1)]
    return [items[a:b] for a, b in pairwise(bounds)]
