"""A workflow whose branches write down where they, their code and their packages are."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import law
import luigi

from analysis.engine.workflow import AnalysisWorkflow

MODULES = ("analysis", "tests.integration.place_toys", "law", "numpy", "awkward", "uproot")


class PlaceToy(AnalysisWorkflow):
    """Two branches."""

    label = luigi.Parameter(default="place")

    def create_branch_map(self) -> dict[int, int]:
        return {i: i for i in range(2)}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"place_{self.branch}.json")

    def run(self) -> None:
        places = {name: str(import_module(name).__file__) for name in MODULES}
        self.staged(self.output()).write_text(json.dumps({"cwd": str(Path.cwd()), **places}))
