"""Errors of the engine."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.errors import AnalysisError


class ManifestError(AnalysisError):
    """A manifest cannot be understood."""


class OutputError(AnalysisError):
    """A task did not write what it promises."""


class StoreError(AnalysisError):
    """The store cannot be written."""


class ParameterError(AnalysisError):
    """A parameter of a task has a value that makes no sense."""


class RecipeCycleError(AnalysisError):
    """Tasks require each other in a circle.

    Args:
        titles: the tasks, the first one again at the end.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        super().__init__(f"tasks require each other in a circle: {' -> '.join(titles)}: correct requires()")


class StaleError(AnalysisError):
    """Outputs are stale, and the configuration says that this is an error."""


class SettingError(AnalysisError):
    """A task reads a value of the configuration that it does not declare."""


class RequirementError(AnalysisError):
    """A task reads outputs of a task that it does not require."""


class BranchesError(AnalysisError):
    """Branches of a workflow failed."""


class ExpensiveRunError(AnalysisError):
    """A run would redo more than is allowed without being asked."""


class TransientError(AnalysisError):
    """Something outside failed that may work the next time: in a batch job, the branch is tried again."""


class MismatchError(AnalysisError):
    """Code, settings or packages of a batch job are not those of the run that submitted it."""
