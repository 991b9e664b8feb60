"""What jobs run in.

The environment of a software set is that of the job itself: it is built where the job is submitted, nothing is started
in the job, and no packages are sent that the task does not need. Anything else, be it a container, a script or an
environment of another origin, is started in the job, with the usual environment around it, and has to be there.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.sandboxes import outside
from analysis.engine.sandboxes.base import SandboxError

if TYPE_CHECKING:
    from analysis.engine.recipes import Recipes
    from analysis.engine.task import AnalysisTask

_IMAGE = "LAW__apptainer_sandbox__image"


class Software(NamedTuple):
    """What the process of a job runs with.

    Args:
        environment: directory of a Python environment.
        variables: of the job: which sandbox that is, or where an image is found.
    """

    environment: Path
    variables: Mapping[str, str] = {}

    @property
    def python(self) -> Path:
        """The Python that the environment was made with."""
        is_here = self.environment == Path(sys.prefix)
        return (Path(sys.executable) if is_here else self.environment / "bin" / "python").resolve()


# on the submitting side


def software_of(workflow: AnalysisTask, shared_filesystem: bool) -> Software:
    """What the jobs of a workflow run with; the environment of a software set is built if it is missing.

    Args:
        workflow: the workflow.
        shared_filesystem: whether jobs see the files of this machine.

    Raises:
        SandboxError: if it cannot be built.
        ParameterError: if the configuration makes no sense.
    """
    from analysis.engine.sandboxes.environments import VenvSandbox

    sandbox, here = outside.declared(workflow), Path(sys.prefix)
    if sandbox is None or not sandbox.software:
        return Software(here)
    if isinstance(sandbox, VenvSandbox):
        return Software(here if sandbox.is_here() else sandbox.directory, {outside.ACTIVE: str(sandbox)})
    if sandbox.kind == "apptainer" and shared_filesystem:  # jobs have a copy of the repository, without images
        return Software(here, {_IMAGE: str(Path(sandbox.name).absolute())})
    return Software(here)


def started_kind(workflow: AnalysisTask) -> str:
    """Kind of the sandbox that the jobs of a workflow start; empty if they start none."""
    sandbox = outside.declared(workflow)
    return "" if sandbox is None or (sandbox.kind == "venv" and sandbox.software) else sandbox.kind


def identities(workflow: AnalysisTask, recipes: Recipes) -> dict[str, str]:
    """What sandboxes of other tasks hold that the recipes of a workflow are made of, by their names.

    A job has to look at its own one, and may be where no other one is.

    Args:
        workflow: the workflow.
        recipes: that know its recipe already.
    """
    own = outside.foreign_identity(workflow)
    found = {name: value for stage in recipes.stages.values() for name, value in stage.recipe.sandbox.items()}
    return {name: value for name, value in found.items() if "::" in name and name not in own}


# in the job


def enter_job(workflow: AnalysisTask, others: Mapping[str, str]) -> None:
    """See that what the branches of a workflow run in can be had here, before the first of them does.

    Args:
        workflow: the workflow.
        others: see :func:`identities`.

    Raises:
        SandboxError: if not.
        ParameterError: if the configuration makes no sense.
    """
    outside.know(others)
    sandbox = outside.chosen(workflow)
    if sandbox is None:
        return
    try:
        sandbox.prepare()
    except SandboxError as error:
        msg = f"job on {socket.gethostname()}: {error}"
        raise SandboxError(msg) from error
    os.environ["PYTHONPATH"] = os.environ["ANALYSIS_BASE"]  # the packages of this process are none of the sandbox
