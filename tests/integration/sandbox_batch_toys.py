"""A workflow whose branches write down what they run in."""

from __future__ import annotations

import json
import os
import time
from importlib.util import find_spec
from pathlib import Path

import law
import luigi

from analysis.engine.workflow import AnalysisWorkflow

MODULES = ("analysis", "law", "numpy", "awkward", "xgboost", "pyhf")
CREDENTIALS = ("X509_USER_PROXY", "BEARER_TOKEN_FILE")


class SandboxPlaceToy(AnalysisWorkflow):
    """Some branches."""

    pinned_list = "columnar"
    label = luigi.Parameter(default="place")
    number = luigi.IntParameter(default=2, significant=False)

    def create_branch_map(self) -> dict[int, int]:
        return {i: i for i in range(self.number)}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"place_{self.branch}.json")

    def run(self) -> None:
        found = {
            "modules": {name: spec.origin for name in MODULES if (spec := find_spec(name))},
            "sandbox": os.environ.get("ANALYSIS_SANDBOX"),
            "user": os.getuid(),
            "credentials": [name for name in CREDENTIALS if name in os.environ and Path(os.environ[name]).read_text()],
        }
        self.staged(self.output()).write_text(json.dumps(found))


class SandboxFaultToy(SandboxPlaceToy):
    """One that goes wrong."""

    def run(self) -> None:
        names: dict[str, str] = {}
        self.staged(self.output()).write_text(self._value(names))

    def _value(self, names: dict[str, str]) -> str:
        return names["nothing"]


class SandboxGreedyToy(SandboxPlaceToy):
    """One that uses 1 GB, and waits."""

    def run(self) -> None:
        kept = [os.urandom(1 << 20) for _ in range(1000)]
        time.sleep(600)
        kept.clear()
