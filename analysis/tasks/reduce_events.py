"""Stage 3: slim events."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import law
import luigi

from analysis.tasks.base import ChunkedTask, DatasetWorkflow
from analysis.tasks.index_files import IndexFiles, input_path, read_index
from analysis.tasks.select_events import Chunk, SelectEvents, chunk_steps


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
        """The selection of all chunks, and the index."""
        return {
            "selection": SelectEvents.req_different_branching(self, branch=-1),
            "index": IndexFiles.req_different_branching(self, branch=-1),
        }

    def requires(self) -> dict[str, Any]:
        """The selection of the chunks of this reduced file, and the index of their files."""
        chunks = SelectEvents.req_different_branching(self, branch=-1).branch_map
        numbers = self.branch_data
        return {
            "selection": [SelectEvents.req_different_branching(self, branch=n) for n in numbers],
            "index": [IndexFiles.req_different_branching(self, branch=chunks[n].file) for n in numbers],
        }

    def output(self) -> law.LocalFileTarget:
        """A parquet file."""
        return self.local_target(f"events_{self.branch}.parquet")

    def run(self) -> None:
        """Reduce chunk by chunk, and merge."""
        import awkward as ak

        from analysis.columnar.producers import reduced_columns
        from analysis.columnar.sources import write_parquet

        columns = reduced_columns(self.dataset_inst, self.campaign_inst)
        chunks = SelectEvents.req_different_branching(self, branch=-1).branch_map
        inputs = zip(self.branch_data, self.input()["selection"], self.input()["index"], strict=True)
        parts = [
            part
            for number, selection, index in inputs
            for part in self._reduce_chunk(
                chunks[number], selection["selection"].path, read_index(index)["entries"], columns
            )
        ]
        events = ak.concatenate(parts)
        write_parquet(events, self.staged(self.output()))
        self.account(events_in=len(events), events_out=len(events))

    def _reduce_chunk(self, chunk: Chunk, selection: str, entries: int, columns: list[str]) -> list[Any]:
        import awkward as ak

        from analysis.columnar.select import reduce
        from analysis.columnar.sources import NanoAODSource
        from analysis.columnar.table import Table

        selected = ak.from_parquet(selection)
        parts = []
        for offset, (start, stop) in chunk_steps(chunk, entries, self.events_per_chunk):
            inside = selected[(selected.entry >= offset) & (selected.entry < offset + stop - start)]
            inside["entry"] = inside["entry"] - offset
            parts.append(reduce(Table(NanoAODSource(input_path(self, chunk.file), start, stop)), inside, columns))
        return parts


def even_groups(items: list[int], size: int) -> list[list[int]]:
    """Cut a list into groups of neighbours, as few as ``size`` allows, of sizes that differ by at most one.

    Examples:
        >>> even_groups([0, 1, 2, 3, 4], 4)
        [[0, 1], [2, 3, 4]]
    """
    n = max(1, -(-len(items) // max(1, size)))
    bounds = [i * len(items) // n for i in range(n + 1)]
    return [items[a:b] for a, b in pairwise(bounds)]
