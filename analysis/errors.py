"""The root of all errors that are meant for the user of the analysis."""

from __future__ import annotations


class AnalysisError(Exception):
    """Something the user can mend: one sentence that says what is wrong, where, and what to do.

    Errors of this kind end a run without a traceback; any other exception is a bug and shows one.
    """
