"""The parameters of tasks that say where and how their branches run. None of them changes a result."""

from __future__ import annotations

import difflib
from typing import Any, ClassVar

import law
import luigi
from luigi.parameter import ParameterVisibility

from analysis.engine.backends.resources import GB, HOUR, Resources, parse_size, parse_time
from analysis.engine.backends.settings import profile_resources
from analysis.engine.errors import ParameterError

WORKFLOW_TYPES = ("local", "htcondor", "slurm")
"""Values of ``--workflow``."""

_HIDDEN = ParameterVisibility.HIDDEN
"""On the scheduler's page: what does not change a result would hide what does."""
_FALLBACK = Resources(cores=1, memory=2 * GB, runtime=2 * HOUR)


class BatchTask(law.Task):  # type: ignore[misc]
    """A task whose branches, or those of what it requires, may run as batch jobs."""

    exclude_index = True

    workflow = luigi.Parameter(
        default="",
        significant=False,
        visibility=_HIDDEN,
        description=f"where branches run: {', '.join(WORKFLOW_TYPES)}; default: local",
    )
    tasks_per_job = luigi.IntParameter(
        default=0,
        significant=False,
        visibility=_HIDDEN,
        description="branches per job; default: several if they are short",
    )
    parallel_jobs = luigi.IntParameter(
        default=-1,
        significant=False,
        visibility=_HIDDEN,
        description="most jobs of a workflow in the queue at once; default: no limit",
    )
    retries = luigi.IntParameter(
        default=5,
        significant=False,
        visibility=_HIDDEN,
        description="how often a branch is tried again if that can help; default: 5",
    )
    poll_interval = law.DurationParameter(
        default=20.0,
        unit="s",
        significant=False,
        visibility=_HIDDEN,
        description="time between two looks at the queue; default: 20s",
    )
    no_poll = luigi.BoolParameter(
        significant=False, visibility=_HIDDEN, description="submit, and do not wait for the jobs"
    )
    no_canary = luigi.BoolParameter(
        significant=False, visibility=_HIDDEN, description="submit all jobs at once, also of code never run"
    )
    cores = luigi.IntParameter(
        default=0, significant=False, visibility=_HIDDEN, description="cores per job; default: as declared"
    )
    memory = luigi.Parameter(
        default="", significant=False, visibility=_HIDDEN, description="memory per job, e.g. 4GB; default: as declared"
    )
    max_runtime = luigi.Parameter(
        default="", significant=False, visibility=_HIDDEN, description="run time per job, e.g. 8h; default: as declared"
    )
    disk = luigi.Parameter(
        default="", significant=False, visibility=_HIDDEN, description="scratch space per job; default: as declared"
    )
    gpus = luigi.IntParameter(
        default=0, significant=False, visibility=_HIDDEN, description="GPUs per job; default: as declared"
    )
    queue = luigi.Parameter(
        default="",
        significant=False,
        visibility=_HIDDEN,
        description="queue, partition or job flavour; default: that of the site",
    )
    accounting_group = luigi.Parameter(
        default="",
        significant=False,
        visibility=_HIDDEN,
        description="account that is charged; default: that of the site",
    )
    container = luigi.Parameter(
        default="", significant=False, visibility=_HIDDEN, description="image that jobs run in; default: none"
    )

    batch_resources: ClassVar[Resources] = _FALLBACK
    """What a job of one branch needs."""

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check ``--workflow``: law would silently take the first type for one it does not know."""
        workflow = params.get("workflow") or "local"
        if workflow == law.NO_STR:
            workflow = "local"
        if workflow not in WORKFLOW_TYPES:
            close = difflib.get_close_matches(workflow, WORKFLOW_TYPES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"use one of {', '.join(WORKFLOW_TYPES)}"
            msg = f"--workflow {workflow} does not exist: {hint}"
            raise ParameterError(msg)
        return dict(super().modify_param_values({**params, "workflow": workflow}))

    def job_resources(self) -> Resources:
        """What a job of this task asks for: declared, overridden by the profile, overridden by the command line.

        Raises:
            ParameterError: if one of them makes no sense.
        """
        default, own = profile_resources(self.get_task_family())
        given = {
            "cores": self.cores,
            "memory": _parsed("memory", self.memory, parse_size),
            "runtime": _parsed("max-runtime", self.max_runtime, parse_time),
            "disk": _parsed("disk", self.disk, parse_size),
            "gpus": self.gpus,
            "queue": self.queue,
            "accounting_group": self.accounting_group,
            "container": self.container,
        }
        declared = self.batch_resources
        if declared == _FALLBACK:  # nobody declared it: what the site says comes first
            return declared.override(**_values(default)).override(**_values(own)).override(**given)
        return default.override(**_values(declared)).override(**_values(own)).override(**given)


def _values(resources: Resources) -> dict[str, Any]:
    return vars(resources)


def _parsed(name: str, text: str, parse: Any) -> int:
    if not text:
        return 0
    try:
        return int(parse(text))
    except ParameterError as error:
        msg = f"--{name}: {error}"
        raise ParameterError(msg) from error
