"""Errors of the engine."""

from __future__ import annotations

from analysis.errors import AnalysisError


class ManifestError(AnalysisError):
    """A manifest cannot be understood."""


class OutputError(AnalysisError):
    """A task did not write what it promises."""


class StoreError(AnalysisError):
    """The store cannot be written."""


class ParameterError(AnalysisError):
    """A parameter of a task has a value that makes no sense."""
