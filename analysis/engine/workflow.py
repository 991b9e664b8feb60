"""Tasks with branches."""

from __future__ import annotations

from typing import Any

import law

from analysis.engine import progress
from analysis.engine.completeness import Listing
from analysis.engine.errors import ParameterError
from analysis.engine.task import AnalysisTask

WORKFLOW_TYPES = ("local",)
"""Values of ``--workflow``."""


class AnalysisWorkflow(AnalysisTask, law.LocalWorkflow):  # type: ignore[misc]
    """A workflow whose branches are committed one by one.

    A subclass declares ``create_branch_map()``, ``workflow_requires()`` for all branches, and ``requires()``,
    ``output()`` and ``run()`` for one branch.
    """

    exclude_index = True

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        """Check ``--workflow``: law would silently take the first type for one it does not know."""
        workflow = params.get("workflow")
        if workflow not in (None, law.NO_STR, *WORKFLOW_TYPES):
            msg = f"--workflow {workflow} does not exist: use one of {', '.join(WORKFLOW_TYPES)}"
            raise ParameterError(msg)
        return dict(super().modify_param_values(params))

    def check(self) -> None:
        """Look at the branch map."""
        self.get_branch_map()

    @property
    def branch_number(self) -> int | None:
        """Branch number; ``None`` for the workflow itself."""
        return int(self.branch) if self.is_branch() else None

    def workflow_complete(self) -> bool:
        """Whether all branches are complete, from one listing of each folder."""
        listing = Listing()
        return all(task.complete_in(listing) for task in self.get_branch_tasks().values())

    def local_workflow_pre_run(self) -> None:
        """Announce the branches that are going to run."""
        listing = Listing()
        missing = sum(not task.complete_in(listing) for task in self.get_branch_tasks().values())
        progress.expect(self.get_task_family(), missing)

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
