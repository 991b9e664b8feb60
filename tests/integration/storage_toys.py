"""Small workflows whose outputs are on servers: one writes, and waits where told to; one reads."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import law
import luigi

from analysis.engine.workflow import AnalysisWorkflow
from tests.integration.fault_toys import wait_for


class WriteToy(AnalysisWorkflow):
    """Files of a given size."""

    exclude_index = True
    n = luigi.IntParameter(default=3)
    size = luigi.IntParameter(default=1000, description="bytes")
    file = luigi.Parameter(default="out", description="begin of the names of files")
    place = luigi.Parameter(significant=False, description="directory of this machine for what is told")
    gate = luigi.IntParameter(default=-1, significant=False, description="branch that waits for the file 'go'")
    path_parameters = AnalysisWorkflow.path_parameters | {"file"}

    def store_parts(self) -> tuple[str, ...]:
        return (*super().store_parts(), "toys")

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        return {"setting": os.environ.get("TOY_SETTING", "one")}

    def create_branch_map(self) -> dict[int, int]:
        return {i: i for i in range(self.n)}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"{self.file}_{self.branch}.bin")

    def run(self) -> None:
        self.staged(self.output()).write_bytes(random.Random(self.branch).randbytes(self.size))
        tell(self.place, f"{self.branch}")
        if self.branch == self.gate:
            tell(self.place, "waits")
            wait_for((Path(self.place) / "go").exists)


class ReadToy(WriteToy):
    """Lengths of these files."""

    exclude_index = True

    def workflow_requires(self) -> Any:
        return {"files": WriteToy.req(self, branch=-1, gate=-1)}

    def requires(self) -> Any:
        return WriteToy.req(self, gate=-1)

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"read_{self.branch}.txt")

    def run(self) -> None:
        if self.branch == self.gate:
            tell(self.place, "waits")
            wait_for((Path(self.place) / "go").exists)
        content = self.localized(self.input()).read_bytes()
        is_same = content == random.Random(self.branch).randbytes(self.size)
        self.staged(self.output()).write_text(f"{len(content)} {is_same}")
        tell(self.place, f"read {self.branch}")


def tell(place: str, what: str) -> None:
    """Write down what happens, for the test."""
    with (Path(place) / "told").open("a") as file:
        file.write(f"{what}\n")
