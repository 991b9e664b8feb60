"""A workflow whose branches meet what may happen to a job, as often as told, or wait until they are let go."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import law
import luigi

from analysis.engine.errors import TransientError
from analysis.engine.workflow import AnalysisWorkflow
from tests.engine.backends.batch_toys import FOREVER, BatchInput

_LARGE = 500
"""MB that ``memory`` uses."""


class FaultToy(AnalysisWorkflow):
    """Each branch does what its entry of ``--what`` says, in a directory outside of the store."""

    exclude_index = True
    what = luigi.Parameter(default="done")
    label = luigi.Parameter(default="")
    place = luigi.Parameter(significant=False)
    path_parameters = AnalysisWorkflow.path_parameters | {"what", "label"}

    def configuration(self, outputs: frozenset[str] | None = None) -> Mapping[str, Any]:  # noqa: ARG002
        return {"setting": os.environ.get("TOY_SETTING", "one")}

    def create_branch_map(self) -> dict[int, Any]:
        return dict(enumerate(self.what.split("+")))

    def workflow_requires(self) -> Any:
        return {"input": BatchInput()}

    def requires(self) -> Any:
        return {"input": BatchInput()}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"fault_{self.branch}.txt")

    def run(self) -> None:
        getattr(self, f"do_{self.branch_data}")(self._attempt())
        self.staged(self.output()).write_text(f"{self.branch} {self.label}")

    def _attempt(self) -> int:
        """Number of this attempt at the branch; the first one has 1."""
        path = Path(self.place) / f"attempts_{self.branch}"
        with path.open("a") as file:
            file.write("begun\n")
        return len(path.read_text().splitlines())

    def do_done(self, _attempt: int) -> None:
        """Nothing."""

    def do_gate(self, _attempt: int) -> None:
        """Wait until somebody makes the file ``go``."""
        wait_for((Path(self.place) / "go").exists)

    def do_bad(self, _attempt: int) -> None:
        msg = f"branch {self.branch} is bad"
        raise ValueError(msg)

    def do_secret(self, _attempt: int) -> None:
        """Tell which credentials this job has, and fail with them in what is said, once the gate is open."""
        names = ("X509_USER_PROXY", "BEARER_TOKEN_FILE")
        files = {name: Path(os.environ[name]) for name in names if name in os.environ}
        found = {
            name: [str(path), f"{path.stat().st_mode & 0o7777:o}", path.read_text()] for name, path in files.items()
        }
        found["variables"] = sorted(name for name, value in os.environ.items() if "SECRET" in name or "eyJ" in value)
        report = Path(self.place) / "found.json"
        report.with_suffix(".part").write_text(json.dumps(found))
        report.with_suffix(".part").replace(report)
        self.do_gate(1)
        secrets = "".join(path.read_text() for path in files.values())
        print(f"printed: {secrets}")
        subprocess.run(["echo", f"of a program: {secrets}"], check=True)
        msg = f"the server did not like {secrets}"
        raise ValueError(msg)

    def do_leak(self, _attempt: int) -> None:
        msg = f"the server did not like {os.environ['BEARER_TOKEN']}"
        raise ValueError(msg)

    def do_flaky(self, attempt: int) -> None:
        if attempt <= 2:
            msg = "the server has a bad day"
            raise TransientError(msg)

    def do_killed(self, attempt: int) -> None:
        """Kill the process of the job itself, without a word."""
        if attempt == 1:
            os.kill(os.getppid(), signal.SIGKILL)
            wait()

    def do_stopped(self, attempt: int) -> None:
        """Keep the process of the job from seeing that its time is over, until the batch system asks it to end."""
        if attempt == 1:
            os.kill(os.getppid(), signal.SIGSTOP)
            wait_for(lambda: is_pending(os.getppid(), signal.SIGTERM))
            os.kill(os.getppid(), signal.SIGCONT)
            wait()

    def do_memory(self, attempt: int) -> None:
        if attempt == 1:
            self.do_greedy(attempt)

    def do_greedy(self, _attempt: int) -> None:
        kept = [bytearray(os.urandom(1 << 20)) for _ in range(_LARGE)]
        wait()
        kept.clear()

    def do_slow(self, attempt: int) -> None:
        if attempt == 1:
            wait()


def wait() -> None:
    """Wait to be killed."""
    wait_for(lambda: False)


def is_pending(process: int, number: int) -> bool:
    """Whether a signal has been sent to a stopped process."""
    status = Path(f"/proc/{process}/status").read_text()
    masks = [int(mask, 16) for mask in re.findall(r"(?m)^(?:SigPnd|ShdPnd):\s*(\w+)", status)]
    return any(mask & 1 << (number - 1) for mask in masks)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    end = time.monotonic() + FOREVER
    while not condition():
        if time.monotonic() > end:
            msg = "nobody came"
            raise TimeoutError(msg)
        time.sleep(0.05)
