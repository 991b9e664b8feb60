"""Stage 2: which events and objects pass the selection, under any kinematic shift."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import law

from analysis.columnar.column import modules_behind
from analysis.config import REGIONS, SELECTION, kinematic_shifts
from analysis.engine.accounting import Span
from analysis.settings import settings
from analysis.tasks.base import ChunkedTask, DatasetWorkflow
from analysis.tasks.index_files import IndexFiles, file_label, input_files, input_path, opened_input, read_index


class Chunk(NamedTuple):
    """A range of events of one file; ``stop`` is ``None`` for the end of a file of unknown length."""

    file: int
    start: int
    stop: int | None


class SelectEvents(ChunkedTask, DatasetWorkflow):
    """Select events and objects, for all kinematic shifts in one pass. One branch per chunk of events."""

    preload = ("numpy", "awkward", "uproot", "vector", "correctionlib", "pyarrow.parquet")

    def create_branch_map(self) -> dict[int, Chunk]:
        """Chunks of all files; a file whose number of events the campaign does not say is one chunk."""
        return dict(enumerate(self._chunks()))

    def _chunks(self) -> Iterator[Chunk]:
        for number, file in enumerate(self.dataset_inst.files):
            if not file.entries:
                yield Chunk(number, 0, None)
                continue
            for start in range(0, file.entries, self.events_per_chunk):
                yield Chunk(number, start, min(start + self.events_per_chunk, file.entries))

    def workflow_requires(self) -> dict[str, Any]:
        """The files, if they are generated, and their index."""
        return {**input_files(self), "index": IndexFiles.req_different_branching(self)}

    def requires(self) -> dict[str, Any]:
        """The chunk's file, if it is generated, and its index."""
        file = self.branch_data.file
        return {**input_files(self, [file]), "index": IndexFiles.req_different_branching(self, branch=file)}

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        """Selected events as parquet, cutflow as JSON."""
        return {
            "selection": self.target(f"selection_{self.branch}.parquet"),
            "cutflow": self.target(f"cutflow_{self.branch}.json"),
        }

    def configuration(self, outputs: frozenset[str] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Steps and regions of the selection, and the shifts."""
        return {
            "selection": [step.column for step in SELECTION],
            "events per chunk": self.events_per_chunk,
            **settings(REGIONS.values(), "column"),
            **settings(kinematic_shifts(self.dataset_inst), "kind", "replaces"),
            **settings(self.dataset_inst, "is_data"),
        }

    def code_modules(self) -> set[str]:
        """Where the columns are computed that decide on events and objects."""
        from analysis.columnar.producers import selection_columns

        return modules_behind(selection_columns(self.dataset_inst))

    def run(self) -> None:
        """Select."""
        import awkward as ak

        from analysis.columnar.cutflow import add_cutflows
        from analysis.columnar.select import select
        from analysis.columnar.sources import NanoAODSource, write_parquet
        from analysis.columnar.table import Table

        path, entries = input_path(self, self.branch_data.file), read_index(self, self.input()["index"])["entries"]
        shifts = kinematic_shifts(self.dataset_inst)
        parts, cutflows = [], []
        with opened_input(path) as opener:
            for offset, step in chunk_steps(self.branch_data, entries, self.events_per_chunk):
                part, cutflow = select(Table(NanoAODSource(path, *step, opener=opener)), self.dataset_inst, shifts)
                part["entry"] = part["entry"] + offset
                parts.append(part)
                cutflows.append(cutflow)
        selected, cutflow = ak.concatenate(parts), add_cutflows(cutflows)
        write_parquet(selected, self.staged(self.output()["selection"], entries=len(selected)))
        self.staged(self.output()["cutflow"]).write_text(json.dumps(cutflow.to_json(), indent=1) + "\n")
        self.account(
            events_in=cutflow.steps[0].events,
            events_out=len(selected),
            sum_of_weights=cutflow.steps[0].sum_of_weights,
        )
        start = self.branch_data.start
        label = file_label(self, self.branch_data.file)
        self.account_spans([Span(label, start, start + cutflow.steps[0].events)])


def chunk_steps(chunk: Chunk, entries: int, size: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Cut a chunk into ranges of at most ``size`` events.

    Args:
        chunk: the chunk.
        entries: number of events of its file.
        size: largest number of events of a range.

    Yields:
        Offset of the range in the chunk, and its first and last-plus-one event in the file.

    Examples:
        >>> list(chunk_steps(Chunk(0, 0, None), 5, 2))
        [(0, (0, 2)), (2, (2, 4)), (4, (4, 5))]
    """
    stop = entries if chunk.stop is None else chunk.stop
    for start in range(chunk.start, stop, size):
        yield start - chunk.start, (start, min(start + size, stop))
