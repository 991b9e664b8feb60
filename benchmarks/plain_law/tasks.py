"""Plain law: a workflow whose branches write a few bytes, here, on HTCondor or on Slurm."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import law
import luigi

law.contrib.load("htcondor", "slurm")

HERE = Path(__file__).resolve().parent
_FORWARDED = {
    "path": "PATH",
    "code": "PYTHONPATH",
    "settings": "LAW_CONFIG_FILE",
    "store": "PLAIN_LAW_STORE",
    "data": "PLAIN_LAW_DATA",
}


class PlainJobs(law.LocalWorkflow, law.htcondor.HTCondorWorkflow, law.slurm.SlurmWorkflow):  # type: ignore[misc]
    """As its user would write it; a branch is complete if its file exists."""

    n = luigi.IntParameter(description="number of branches")
    seconds = luigi.FloatParameter(default=0.0, significant=False, description="that each branch takes")
    slow = law.CSVParameter(cls=luigi.IntParameter, default=(), significant=False, description="only these take long")
    fails = law.CSVParameter(cls=luigi.IntParameter, default=(), significant=False, description="branches that fail")
    waits = luigi.BoolParameter(significant=False, description="jobs stay in the queue for ever")

    def create_branch_map(self) -> dict[int, int]:
        """One branch per number."""
        return {i: i for i in range(self.n)}

    def output(self) -> law.LocalFileTarget:
        """A text file."""
        return law.LocalFileTarget(f"{os.environ['PLAIN_LAW_STORE']}/jobs_{self.n}/{self.branch}.txt")

    def run(self) -> None:
        """Write the number."""
        if not self.slow or self.branch in self.slow:
            time.sleep(self.seconds)
        if self.branch in self.fails:
            msg = f"branch {self.branch} fails"
            raise ValueError(msg)
        self.output().dump(str(self.branch), formatter="text")

    @property
    def _folder(self) -> Path:
        return Path(os.environ["PLAIN_LAW_DATA"]) / f"jobs_{self.n}"

    # what law asks for

    def htcondor_output_directory(self) -> law.LocalDirectoryTarget:
        """Directory of law's own files."""
        return law.LocalDirectoryTarget(str(self._folder / "htcondor"))

    def slurm_output_directory(self) -> law.LocalDirectoryTarget:
        """Directory of law's own files."""
        return law.LocalDirectoryTarget(str(self._folder / "slurm"))

    def htcondor_bootstrap_file(self) -> law.JobInputFile:
        """Sets up the environment of a job."""
        return law.JobInputFile(str(HERE / "bootstrap.sh"), share=True, render_job=True)

    slurm_bootstrap_file = htcondor_bootstrap_file

    def htcondor_job_config(self, config: Any, job_num: int, branches: list[int]) -> Any:  # noqa: ARG002
        """What the bootstrap file needs."""
        config.render_variables.update({key: os.environ[name] for key, name in _FORWARDED.items()})
        config.custom_content.append(("request_memory", "500"))
        if self.waits:
            config.custom_content.append(("requirements", "False"))
        return config

    def slurm_job_config(self, config: Any, job_num: int, branches: list[int]) -> Any:  # noqa: ARG002
        """What the bootstrap file needs."""
        config.render_variables.update({key: os.environ[name] for key, name in _FORWARDED.items()})
        config.custom_content.append(("mem", "500"))
        if self.waits:
            config.custom_content.append(("begin", "now+1hour"))
        return config
