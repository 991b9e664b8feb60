"""A copy of what sets the analysis up, in a directory with a blank, with two small tasks."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

TASKS = """
import law
import luigi

law.contrib.load("htcondor")


class FitModel(law.Task):
    version = luigi.Parameter(default="v1")
    campaign = luigi.Parameter(default="demo")
    unblind = luigi.BoolParameter(default=False)
    workflow = luigi.Parameter(default="")
    cancel = luigi.BoolParameter(default="", parsing=luigi.BoolParameter.EXPLICIT_PARSING)

    def output(self):
        return law.LocalFileTarget(f"{law.config.get_expanded('target', 'tmp_dir')}/{self.version}.txt")

    def run(self):
        if self.unblind:
            raise ValueError("not yet")
        self.output().dump("1", formatter="text")


class SelectEvents(law.LocalWorkflow, law.htcondor.HTCondorWorkflow):
    dataset = luigi.Parameter()
    shift = luigi.Parameter(default="nominal")
    variables = law.CSVParameter(default=())
    method = luigi.ChoiceParameter(choices=["cut", "bdt"], default="cut")

    def create_branch_map(self):
        return {0: None}

    def run(self):
        pass
"""

CONFIG = """
def parameter_values():
    return {
        "campaign": ["demo", "agc_2015", "*.yaml"],
        "dataset": ["ttbar", "ttbar_scaleup", "wjets"],
        "workflow": ["local", "slurm"],
        "shift": ["nominal", "jes_up", "jes_down"],
        "variables": ["ht", "trijet_mass"],
        "histograms": ["$(touch pwned)", "*.json"],
    }
"""


@dataclass(frozen=True)
class Project:
    """A copy of the set-up.

    Attributes:
        path: its directory.
        environments: directory of its environments.
    """

    path: Path
    environments: Path

    def key(self, name: str = "analysis") -> str:
        """Hash of a pinned list."""
        lines = (self.path / "sandboxes" / f"{name}.txt").read_text().splitlines(keepends=True)
        pins = "".join(line for line in lines if not line.lstrip().startswith("#"))
        return hashlib.sha256(pins.encode()).hexdigest()[:12]

    def variables(self, **extra: str) -> dict[str, str]:
        """The environment variables of a shell that has not seen this or any other set-up."""
        foreign = ("ANALYSIS_", "LAW_", "LUIGI_", "VIRTUAL_ENV", "PYTHONPATH")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        own = os.environ.get("VIRTUAL_ENV", "/nowhere") + "/bin"
        clean["PATH"] = os.pathsep.join(entry for entry in clean["PATH"].split(os.pathsep) if entry != own)
        return {
            **clean,
            "ANALYSIS_ENV_DIR": str(self.environments),
            "LAW__target__tmp_dir": str(self.path.parent),
            "ANALYSIS_PYTHON": sys.executable,
            **extra,
        }

    def shell(self, script: str, shell: str = "bash", **extra: str) -> subprocess.CompletedProcess[str]:
        """Run a script in a shell that reads none of the user's files, from another directory."""
        command = {"bash": ["bash", "--norc", "--noprofile"], "zsh": ["zsh", "-f"], "dash": ["dash"]}[shell]
        return subprocess.run(
            [*command, "-c", script, "shell"],
            cwd=self.path.parent,
            env=self.variables(SETUP=str(self.path / "setup.sh"), **extra),
            capture_output=True,
            text=True,
            check=False,
        )

    def pin(self, *packages: str, name: str = "analysis") -> None:
        """Replace a pinned list, so that building an environment takes a second."""
        (self.path / "sandboxes" / f"{name}.txt").write_text("\n".join(packages) + "\n")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A copy without an environment."""
    path = tmp_path / "a physicist's home" / "copy"
    path.mkdir(parents=True)
    for name in ("setup.sh", "law.cfg"):
        shutil.copy(REPOSITORY / name, path)
    shutil.copytree(REPOSITORY / "sandboxes", path / "sandboxes")
    shutil.copytree(REPOSITORY / "analysis" / "completion", path / "analysis" / "completion")
    for name, text in {"analysis": "", "analysis/tasks": TASKS, "analysis/config": CONFIG}.items():
        (path / name).mkdir(exist_ok=True)
        (path / name / "__init__.py").write_text(text)
    return Project(path, path / ".venv")


@pytest.fixture
def ready(project: Project) -> Project:
    """A copy whose environment stands: it hands on to the Python of this test run."""
    version = ".".join(map(str, sys.version_info[:2]))
    environment = project.environments / f"{project.key()}-py{version}"
    (environment / "bin").mkdir(parents=True)
    python = f'"{sys.executable}"'
    for name, command in {"python": python, "law": f"{python} -c 'import law.cli; exit(law.cli.run())'"}.items():
        script = environment / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
    (environment / ".complete").write_text(f"{environment}\n{sys.executable}\n")
    return project
