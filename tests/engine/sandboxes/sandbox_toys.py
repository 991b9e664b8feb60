"""Tasks that say what they see, or go wrong, in a sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import law
import luigi

from analysis.engine.errors import OutputError
from analysis.engine.task import AnalysisTask
from analysis.engine.workflow import AnalysisWorkflow

FOREVER = 600
LOADED = "colorsys"
"""A module that nobody else imports."""


class OddError(Exception):
    """Of no type that is known elsewhere."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} is odd, {two} is not")


class Deeds:
    """What a task may do."""

    what: str
    place: str

    def do_see(self) -> dict[str, Any]:
        """Say where this is."""
        return {
            "pid": os.getpid(),
            "parent": os.getppid(),
            "sandbox": os.environ.get("ANALYSIS_SANDBOX"),
            "executable": sys.executable,
            "prefix": sys.prefix,
            "version": sys.version_info[:2],
            "variables": dict(os.environ),
            "user": [os.getuid(), os.getgid()],
            "argv": sys.orig_argv,
            "loaded": LOADED in sys.modules,
        }

    def do_value(self) -> None:
        msg = "a value\nthat is `bad`"
        raise ValueError(msg)

    def do_ours(self) -> None:
        msg = "an output: make it"
        raise OutputError(msg)

    def do_odd(self) -> None:
        raise OddError(1, 2)

    def do_exit(self) -> None:
        sys.exit(0)

    def do_die(self) -> None:
        os._exit(0)

    def do_print(self) -> None:
        print("to standard output")
        print("to standard error", file=sys.stderr)

    def do_token(self) -> list[str]:
        """Wait until the token is another one: both of them."""
        path = Path(os.environ["BEARER_TOKEN_FILE"])
        first = path.read_text()
        (Path(self.place) / "began").touch()
        while (now := path.read_text()) == first:
            time.sleep(0.1)
        return [first, now]

    def do_wait(self) -> None:
        """Start another process, say who they are, and wait."""
        other = subprocess.Popen(["sleep", str(FOREVER)])
        path = Path(self.place) / f"waits_{os.getpid()}"
        path.with_suffix(".new").write_text(json.dumps([os.getpid(), os.getppid(), other.pid]))
        path.with_suffix(".new").rename(path)
        time.sleep(FOREVER)


class SandboxToy(AnalysisTask, Deeds):
    """Does one thing."""

    exclude_index = True
    pinned_list = "columnar"
    preload = (LOADED,)
    what = luigi.Parameter(default="see")
    place = luigi.Parameter(default="", significant=False)
    path_parameters = AnalysisTask.path_parameters | {"what"}

    def store_parts(self) -> tuple[str, ...]:
        return (*super().store_parts(), self.what)

    def output(self) -> law.FileSystemFileTarget:
        return self.target("seen.json")

    def run(self) -> None:
        seen = getattr(self, f"do_{self.what}")()
        os.environ["LEFT_BEHIND"] = "something"
        self.staged(self.output()).write_text(json.dumps(seen))


class SandboxPair(SandboxToy):
    """Runs after another one that does the same."""

    exclude_index = True
    variable = luigi.Parameter(default="", significant=False)

    def requires(self) -> SandboxToy:
        return SandboxToy(what=self.what, place=self.place, sandbox=self.sandbox)

    def sandbox_env(self) -> dict[str, str]:
        return {"OF_A_TASK": self.variable} if self.variable else {}


class SandboxToys(AnalysisWorkflow, Deeds):
    """Does one thing in each branch."""

    exclude_index = True
    pinned_list = "columnar"
    what = luigi.Parameter(default="see")
    place = luigi.Parameter(default="", significant=False)
    path_parameters = AnalysisWorkflow.path_parameters | {"what"}

    def store_parts(self) -> tuple[str, ...]:
        return (*super().store_parts(), self.what)

    def create_branch_map(self) -> dict[int, str]:
        return dict(enumerate(self.what.split("+")))

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"seen_{self.branch}.json")

    def run(self) -> None:
        seen = getattr(self, f"do_{self.branch_data}")()
        self.staged(self.output()).write_text(json.dumps(seen))


class OutsideToy(AnalysisTask):
    """Writes to a place that is in no store."""

    exclude_index = True
    pinned_list = "columnar"
    what = luigi.Parameter(default="", significant=False)
    place = luigi.Parameter(default="", significant=False)

    def output(self) -> law.LocalFileTarget:
        return law.LocalFileTarget(str(Path(os.environ["TOY_OUTSIDE"]) / "lost.txt"))

    def run(self) -> None:
        self.staged(self.output()).write_text("lost")
