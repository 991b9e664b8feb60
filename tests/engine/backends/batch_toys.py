"""A workflow whose branches do what may happen in a job."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import law
import luigi

from analysis.engine.errors import TransientError
from analysis.engine.task import AnalysisTask
from analysis.engine.workflow import AnalysisWorkflow

FOREVER = 600.0
"""Seconds; whoever waits that long was not ended."""


class BatchInput(AnalysisTask):
    """What all branches need; its number is for the command line."""

    exclude_index = True
    number = luigi.IntParameter(default=1)
    flag = luigi.BoolParameter()

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        return {"input": os.environ.get("TOY_SETTING", "same")}

    def output(self) -> law.FileSystemFileTarget:
        return self.target("input.txt")

    def run(self) -> None:
        self.staged(self.output()).write_text(str(self.number))


class BatchToy(AnalysisWorkflow):
    """Each branch does what its entry of ``--what`` says."""

    exclude_index = True
    what = luigi.Parameter(default="pass")
    place = luigi.Parameter(default="", significant=False)
    factor = luigi.FloatParameter(default=1.0)
    names = law.CSVParameter(default=())
    note = luigi.Parameter(default="", significant=False)
    path_parameters = AnalysisWorkflow.path_parameters | {"what"}

    def store_parts(self) -> tuple[str, ...]:
        return (*super().store_parts(), "toys")

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        return {"setting": os.environ.get("TOY_SETTING_OF_BATCH", "same")}

    def create_branch_map(self) -> dict[int, Any]:
        return dict(enumerate(self.what.split("+")))

    def workflow_requires(self) -> Any:
        return {"input": BatchInput()}

    def requires(self) -> Any:
        return {"input": BatchInput()}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"toy_{self.branch}.txt")

    def run(self) -> None:
        staged = self.staged(self.output())
        staged.write_text("begun")
        getattr(self, f"do_{self.branch_data}")()
        staged.write_text(f"{self.branch_data} {self.input()['input'].load(formatter='text')}")

    def do_pass(self) -> None:
        """Nothing."""

    def do_print(self) -> None:
        print("standard output: Größe → 1 μm \N{ROCKET}")
        print("standard error", file=sys.stderr)
        ctypes.CDLL(None).puts(b"compiled code")
        subprocess.run(["echo", "a subprocess"], check=True)

    def do_bad(self) -> None:
        items = [1, 2]
        items[self.branch + 1000] = 3

    def do_transient(self) -> None:
        msg = "the server has a bad day"
        raise TransientError(msg)

    def do_memory(self) -> None:
        bytearray(1 << 62)

    def do_grow(self) -> None:
        kept = [bytearray(os.urandom(1 << 20)) for _ in range(400)]
        self.wait()
        kept.clear()

    def do_child(self) -> None:
        """The same in a subprocess of a subprocess."""
        code = f"import os, time; kept = [os.urandom(1 << 20) for _ in range(400)]; time.sleep({FOREVER})"
        subprocess.run(["sh", "-c", f"{sys.executable} -c '{code}'; true"], check=True)

    def do_wait(self) -> None:
        self.wait()

    def wait(self) -> None:
        if self.place:
            Path(self.place).write_text("waits")
        time.sleep(FOREVER)

    def do_orphan(self) -> None:
        """Leave a process behind whose parent is gone, and that belongs to no group of ours."""
        script = f"setsid sleep {FOREVER} > /dev/null 2>&1 & echo $!"
        done = subprocess.run(["sh", "-c", script], stdout=subprocess.PIPE, text=True, check=True)
        Path(self.place).write_text(done.stdout.strip())

    def do_killed(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def do_terminated(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def do_crash(self) -> None:
        ctypes.string_at(0)

    def do_exit(self) -> None:
        sys.exit(3)

    def do_quit(self) -> None:
        os._exit(0)

    def do_setting(self) -> None:
        print("threads", os.environ["OMP_NUM_THREADS"], "home", os.environ["HOME"], "path", os.environ["PATH"])
