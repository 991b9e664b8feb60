"""What can be wrong with events."""

from __future__ import annotations

from analysis.errors import AnalysisError

# what is raised is not what is computed
__plumbing__ = True


class ColumnError(AnalysisError):
    """A column is asked for that nobody provides."""


class InputFileError(AnalysisError):
    """An input file is missing, unreadable, truncated, or holds no events."""


class MissingColumnError(InputFileError):
    """An input file lacks a column that is used."""


class NonFiniteColumnError(InputFileError):
    """A column holds NaN or infinity."""
