"""Jobs in the words of the batch system's own programs: no word of the project is taken for it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.testbed import System, Testbed

PATIENCE = 60.0
"""Seconds after which what did not happen will not."""

T = TypeVar("T")


def until(condition: Callable[[], T], seconds: float = PATIENCE) -> T:
    """Wait until something is true.

    Returns:
        Its value.
    """
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)
    return found


@dataclass(frozen=True)
class Queue:
    """What the system's own programs say of the jobs that were submitted from one ``LAW_HOME``."""

    testbed: Testbed
    system: System
    home: Path

    def jobs(self) -> dict[str, str]:
        """States by id of all jobs there ever were, in the words of the system."""
        found = self._condor() if self.system.name == "htcondor" else self._slurm()
        return {job: state for job, (state, folder) in found.items() if Path(folder).is_relative_to(self.home)}

    def waiting(self) -> dict[str, str]:
        """Jobs that are not over, be they running or not."""
        over = {"3", "4"} if self.system.name == "htcondor" else {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"}
        return {job: state for job, state in self.jobs().items() if state.partition(" ")[0] not in over}

    def memory(self) -> dict[str, int]:
        """Requested memory by id [MiB]."""
        if self.system.name == "htcondor":
            ads = self._ads("condor_history", "RequestMemory")
            asked = {job: str(ad["RequestMemory"]) for job, ad in ads.items()}
            return {job: int(text) for job, text in asked.items() if text.isdecimal()}  # jobs of others have formulas
        said = self.testbed.succeed(
            "squeue", "--array", "--noheader", "--states=all", "-O", "JobArrayID:0|,MinMemory:0"
        )
        return {
            job: int(size.removesuffix("M")) for job, size in (line.split("|") for line in said.splitlines()) if job
        }

    def hold(self, job: str) -> None:
        self._do("condor_hold", ["scontrol", "hold"], job)

    def release(self, job: str) -> None:
        self._do("condor_release", ["scontrol", "release"], job)

    def remove(self, job: str) -> None:
        self._do("condor_rm", ["scancel"], job)

    def suspend(self, job: str) -> None:
        self._do("condor_suspend", ["scontrol", "suspend"], job, as_root=True)

    def resume(self, job: str) -> None:
        self._do("condor_continue", ["scontrol", "resume"], job, as_root=True)

    def preempt(self, job: str) -> None:
        """Put a running job back into the queue; Slurm would let it wait there for two minutes."""
        self._do("condor_vacate_job", ["scontrol", "requeue"], job)
        if self.system.name == "slurm":
            until(lambda: self.jobs()[job] == "PENDING")
            # not at once: the node would take it for the one that it was told to end
            self._do("", ["scontrol", "update", "StartTime=now+3"], f"JobId={job}")

    @contextmanager
    def system_hold(self, job: str) -> Iterator[None]:
        """Have a job put on hold as administrators would: an idle one of HTCondor, a running one of Slurm."""
        if self.system.name == "slurm":
            self.admin("scontrol", "requeuehold", job)
            yield
        else:
            cluster, number = job.split(".")
            with self.system.settings(f"SYSTEM_PERIODIC_HOLD = ClusterId == {cluster} && ProcId == {number}"):
                yield

    def admin(self, *command: str) -> str:
        """Call a program of Slurm as root."""
        path = f"{self.testbed.directory}/slurm/bin:{os.environ['PATH']}"
        return subprocess.run(
            command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
        ).stdout

    def _do(self, condor: str, slurm: list[str], job: str, *, as_root: bool = False) -> None:
        if self.system.name == "htcondor":
            self.testbed.succeed(condor, job)
        elif as_root:
            self.admin(*slurm, job)
        else:
            self.testbed.succeed(*slurm, job)

    def _condor(self) -> dict[str, tuple[str, str]]:
        ads = {**self._ads("condor_history", "JobStatus,Iwd"), **self._ads("condor_q", "JobStatus,Iwd")}
        return {job: (str(ad["JobStatus"]), str(ad["Iwd"])) for job, ad in ads.items()}

    def _ads(self, program: str, attributes: str) -> dict[str, dict[str, str]]:
        said = self.testbed.succeed(program, "-json", "-attributes", f"ClusterId,ProcId,{attributes}")
        return {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in json.loads(said or "[]")}

    def remembered(self) -> set[str]:
        """Jobs that the controller of Slurm still knows of, be they over or not."""
        rows = (line.split("|", 2) for line in self._squeue().splitlines())
        return {job for job, _, folder in rows if Path(folder).is_relative_to(self.home)}

    def _squeue(self) -> str:
        columns = "JobArrayID:0|,State:0|,WorkDir:0"
        return self.testbed.succeed("squeue", "--array", "--noheader", "--states=all", "-O", columns)

    def _slurm(self) -> dict[str, tuple[str, str]]:
        asked = ("--allocations", "--noheader", "--parsable2", "--starttime=now-1hour", "--format=JobID,State,WorkDir")
        history = self.testbed.succeed("sacct", *asked)
        rows = [line.split("|", 2) for line in (*history.splitlines(), *self._squeue().splitlines())]
        return {job: (state, folder) for job, state, folder in rows if re.fullmatch(r"\d+(_\d+)?", job)}
