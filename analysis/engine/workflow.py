"""Tasks with branches."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any, cast

import law
from law.workflow.base import BaseWorkflowProxy

from analysis.engine.branches import run_branches
from analysis.engine.errors import ParameterError
from analysis.engine.sandboxes import outside
from analysis.engine.task import AnalysisTask

MAY_BE_OF_PROXY = frozenset({"requires", "input", "output", "complete", "run"})
"""Attributes of a task that law takes from its workflow proxy or its sandbox."""


class LocalProxy(BaseWorkflowProxy):  # type: ignore[misc]
    """Runs the branches itself, where law's own proxy hands each of them to luigi's scheduler.

    That one is not even its base: law keeps in a process of its own which of them have done so
    (``law/patches.py:122`` of law 0.1.21), which takes a fifth of a second to start and to end.
    """

    workflow_type = "local"

    def requires(self) -> Any:
        """What the workflow requires, with what it requires only where its branches run locally."""
        required = super().requires()
        required.update(self.task.local_workflow_requires() or {})
        if self.task.local_workflow_require_branches:
            required["branches"] = self.task.get_branch_tasks()
        return required

    def run(self) -> None:
        """Run all branches that are not complete."""
        if (sandbox := outside.chosen(self.task)) is not None:
            outside.enter(self.task, sandbox)
        else:
            run_branches(self.task)


class BatchProxy(BaseWorkflowProxy):  # type: ignore[misc]
    """Runs the branches as batch jobs.

    law's own proxy keeps what it knows of jobs in memory and in a file that is written after the fact, which loses and
    doubles them (``law/workflow/remote.py:955``, ``:1153``, ``:1363`` of law 0.1.21); this one has a ledger.
    """

    def run(self) -> None:
        """Run all branches that are not complete."""
        from analysis.engine.backends.controller import run_jobs

        run_jobs(self.task)


class HTCondorProxy(BatchProxy):
    """Jobs of HTCondor."""

    workflow_type = "htcondor"


class SlurmProxy(BatchProxy):
    """Jobs of Slurm."""

    workflow_type = "slurm"


class HTCondorWorkflow(law.BaseWorkflow):  # type: ignore[misc]
    """What law finds for ``--workflow htcondor``."""

    exclude_index = True
    workflow_proxy_cls = HTCondorProxy


class SlurmWorkflow(law.BaseWorkflow):  # type: ignore[misc]
    """What law finds for ``--workflow slurm``."""

    exclude_index = True
    workflow_proxy_cls = SlurmProxy


class AnalysisWorkflow(AnalysisTask, law.LocalWorkflow, HTCondorWorkflow, SlurmWorkflow):  # type: ignore[misc]
    """A workflow whose branches are committed one by one.

    A subclass declares ``create_branch_map()``, ``workflow_requires()`` for all branches, and ``requires()``,
    ``output()`` and ``run()`` for one branch.
    """

    exclude_index = True
    workflow_proxy_cls = LocalProxy
    _title: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._made: dict[int, AnalysisTask] = {}
        self._maker: AnalysisWorkflow | None = None
        super().__init__(*args, **kwargs)

    def __getattribute__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """An attribute; law asks for each of them, which takes a tenth of a short branch, whether a proxy has it."""
        if name not in MAY_BE_OF_PROXY:
            return object.__getattribute__(self, name)
        return super().__getattribute__(name, *args, **kwargs)

    def check(self) -> None:
        """Look at the branch map."""
        self.get_branch_map()

    @functools.cached_property
    def relative_folder(self) -> str:
        """Folder of this workflow's outputs in the store, the same for all branches."""
        if self.is_branch():
            return self.whole().relative_folder
        return str(super().relative_folder)

    @functools.cached_property
    def key(self) -> str:
        """What tells this workflow, or branch, from all others."""
        part = ",".join(map(str, self.branches)) if self.is_workflow() else self.branch
        return f"{self.relative_folder}#{part}"

    @functools.cached_property
    def branch_number(self) -> int | None:
        """Branch number; ``None`` for the workflow itself."""
        return int(self.branch) if self.is_branch() else None

    def title(self) -> str:
        """Task family with the parameters a reader needs to tell it from its siblings, and the branch."""
        if self._title is None:
            self._title = super().title() if self.is_workflow() else f"{self.whole().title()} branch {self.branch}"
        return self._title

    def whole(self) -> AnalysisTask:
        """The workflow that a branch belongs to."""
        workflow: AnalysisTask = self.as_workflow()
        return workflow

    def is_whole_workflow(self) -> bool:
        """Whether this is the workflow itself."""
        return bool(self.is_workflow())

    def branch_numbers(self) -> list[int]:
        """Numbers of the branches."""
        return list(self.get_branch_map())

    def branch_tasks(self) -> Iterator[AnalysisTask]:
        """The branches of the workflow, or the branch itself."""
        yield from self.get_branch_tasks().values() if self.is_workflow() else [self]

    def branch_task(self, branch: int) -> AnalysisTask:
        """One branch."""
        workflow: Any = self.whole()
        if branch not in workflow._made:
            workflow._made[branch] = workflow._make_branch(branch)
        return cast("AnalysisTask", workflow._made[branch])

    def _make_branch(self, branch: int) -> AnalysisTask:
        if not self._made:
            return cast("AnalysisTask", self.as_branch(branch))
        # law finds out anew for each branch which parameters to hand over, which takes longer than all the rest
        task = type(self)(**{**next(iter(self._made.values())).param_kwargs, "branch": branch})
        task._maker = self
        return task

    def as_workflow(self, **kwargs: Any) -> Any:
        """The workflow that a branch belongs to: the one that made it, if one did."""
        return self._maker or super().as_workflow(**kwargs)

    def get_branch_tasks(self, **kwargs: Any) -> dict[int, AnalysisTask]:
        """All branches by number."""
        if self.is_branch() or kwargs:
            return dict(super().get_branch_tasks(**kwargs))
        return {branch: self.branch_task(branch) for branch in self.get_branch_map()}

    def branch_value(self, branch: int) -> Any:
        """What a branch stands for: its entry in the branch map."""
        return self.get_branch_map()[branch]

    def workflow_complete(self) -> bool:
        """Whether all branches are complete."""
        return AnalysisTask.complete(self)

    def all_branch_numbers(self) -> list[int]:
        """Numbers of the branches, be they among those that are asked for or not."""
        return list(self._all_branches)

    @functools.cached_property
    def _all_branches(self) -> list[int]:
        if not self.branches:
            return self.branch_numbers()
        # law's own argument for this, reduce_branches=False, is without effect once there is a branch map
        return list(self._sanitize_branch_map(self.create_branch_map(), self.force_contiguous_branches))

    # jobs

    is_paused: bool = False
    """Whether no more jobs are to be submitted for now."""

    @property
    def accepts_messages(self) -> bool:
        """Whether the scheduler's page offers to send messages."""
        return bool(self.is_workflow()) and self.workflow != "local"

    def handle_messages(self) -> bool:
        """Do what was asked for on the scheduler's page, if anything was."""
        from analysis.engine.backends.messages import handle_messages

        return handle_messages(self)

    def publish_jobs(self, message: str, done: int, total: int) -> None:
        """Tell the scheduler's page how far the jobs are."""
        self.publish_branches(done, total)
        if getattr(self, "set_status_message", None):  # luigi lends it to a task while it runs
            self.set_status_message(message)

    def publish_branches(self, done: int, total: int) -> None:
        """Tell the scheduler's page how far the branches are."""
        if total:
            self.publish_progress(100.0 * done / total)

    def _reset_branch_boundaries(self, full_branch_map: Mapping[int, Any]) -> None:
        """Check ``--branches``: law drops what is not there, and runs all branches if nothing is left."""
        first, last = min(full_branch_map, default=0), max(full_branch_map, default=-1)
        for part in self.branches:
            if full_branch_map.keys().isdisjoint(law.util.range_expand([part], min_value=first, max_value=last + 1)):
                text = ":".join("" if number is None else str(number) for number in part)
                msg = (
                    f"{self.get_task_family()} has no branches {text} (--branches): its branches are {first} to {last}"
                )
                raise ParameterError(msg)
        super()._reset_branch_boundaries(full_branch_map)

    def get_branch_map(self, *args: Any, **kwargs: Any) -> dict[int, Any]:
        """Branches with their data.

        Raises:
            ParameterError: if ``--branch`` is outside the range.
        """
        branch_map: dict[int, Any] = super().get_branch_map(*args, **kwargs)
        if self.is_branch() and self.branch not in branch_map:
            last = max(branch_map, default=-1)
            msg = f"{self.get_task_family()} has no branch {self.branch}: its branches are 0 to {last}"
            raise ParameterError(msg)
        return branch_map
