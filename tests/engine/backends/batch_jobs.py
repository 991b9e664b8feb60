"""Jobs as a batch system would start them: with an environment of their own, and a process that can be waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from analysis.engine.backends import joblogs
from analysis.engine.backends.failures import Failure
from analysis.engine.backends.jobenv import JOB_SCRIPT
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.spec import Branch, JobSpec, format_branches, make_spec, short_digest
from analysis.engine.manifest import Manifest
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage.local import LocalStore
from analysis.engine.workflow import AnalysisWorkflow
from tests.engine.backends.batch_toys import BatchInput, BatchToy

REPOSITORY = Path(__file__).resolve().parents[3]
TIMEOUT = 120.0


@dataclass(frozen=True)
class Ended:
    """What a job left.

    Args:
        code: exit code.
        output: what it printed.
        results: results of the attempts of branches, in order of time.
        logs: last log by branch.
        failures: last report by branch.
        manifests: by branch.
    """

    code: int
    output: str
    results: dict[int, list[str]]
    logs: dict[int, str]
    failures: dict[int, Failure]
    manifests: dict[int, Manifest]


@dataclass(frozen=True)
class Job:
    """A job of a workflow that runs here.

    Args:
        workflow: the workflow.
        folder: working directory; the spec is in it.
        resources: what it asked for.
        environment: what is different from usual.
        edit: changes the spec.
    """

    workflow: AnalysisWorkflow
    folder: Path
    resources: Resources = field(default_factory=Resources)
    environment: Mapping[str, str] = field(default_factory=dict)
    edit: Callable[[JobSpec], JobSpec] = lambda spec: spec

    def variables(self) -> dict[str, str]:
        usual = {
            "ANALYSIS_STORE": str(self.workflow.store.root),
            "ANALYSIS_JOB_SPEC": str(self.folder / "spec.json"),
            "ANALYSIS_JOB_TOKEN": "0a1b",
            "ANALYSIS_JOB_REPOSITORY": str(REPOSITORY),
            "ANALYSIS_JOB_SANDBOX": sys.prefix,
            "TMPDIR": str(self.folder),
            "SLURM_JOB_ID": "17",
            "SLURM_ARRAY_JOB_ID": "12",
            "SLURM_ARRAY_TASK_ID": "3",
        }
        return {name: text for name, text in {**usual, **self.environment}.items() if text}

    def start(self, *branches: int, digests: Mapping[int, str] | None = None) -> subprocess.Popen[str]:
        """Start the job for branches; for all of them if none is named."""
        self.folder.mkdir(parents=True, exist_ok=True)
        snapshot = Snapshot()
        spec = self.edit(make_spec(self.workflow, "slurm", self.resources, snapshot))
        (self.folder / "spec.json").write_text(spec.to_json())
        numbers = branches or tuple(self.workflow.branch_numbers())
        known = {b: short_digest(snapshot.recipes.digest(self.workflow.branch_task(b))) for b in numbers}
        known |= digests or {}
        return subprocess.Popen(
            ["/bin/bash", JOB_SCRIPT, format_branches(Branch(b, known[b]) for b in numbers)],
            env=self.variables(),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> Ended:
        """Wait for the end, and look at what is there."""
        output, _ = process.communicate(timeout=TIMEOUT)
        files, folder = LocalStore(Path("/")), self.workflow.folder
        attempts = joblogs.attempts(files, folder)
        last = {branch: found[-1] for branch, found in attempts.items()}
        snapshot = Snapshot()
        tasks = {b: self.workflow.branch_task(b) for b in self.workflow.branch_numbers()}
        return Ended(
            process.returncode,
            output,
            {branch: [attempt.result for attempt in found] for branch, found in attempts.items()},
            {branch: joblogs.read_log(files, folder, attempt) for branch, attempt in last.items()},
            {b: joblogs.read_report(files, folder, attempt) for b, attempt in last.items() if attempt.failure},
            {b: found for b, task in tasks.items() if (found := snapshot.manifest(task))},
        )

    def run(self, *branches: int, digests: Mapping[int, str] | None = None) -> Ended:
        return self.end(self.start(*branches, digests=digests))


def toy_job(folder: Path, what: str, place: Path | None = None, memory: int = 0, runtime: int = 0, **env: str) -> Job:
    """Job of the toy workflow, whose input is there."""
    BatchInput().run()
    resources = Resources(cores=3, memory=memory, runtime=runtime)
    return Job(BatchToy(what=what, place=str(place or "")), folder / "job", resources, env)


def left_over(job: Job) -> list[str]:
    """Temporary files and locks that a job left, beside its outputs and in its scratch directory."""
    store = [path for path in Path(job.workflow.store.root).rglob(".*") if path.is_file()]
    return [str(path) for path in (*store, *(path for path in job.folder.iterdir() if path.name != "spec.json"))]


def pipe(folder: Path) -> Path:
    """A named pipe: who opens it waits for the other side."""
    path = folder / "pipe"
    os.mkfifo(path)
    return path
