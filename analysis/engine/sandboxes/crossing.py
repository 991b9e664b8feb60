"""Errors that cross the border of a sandbox: type, text and traceback."""

from __future__ import annotations

import builtins
from typing import Any

from analysis.engine.sandboxes.base import Crossing, InsideError
from analysis.errors import AnalysisError


def raised(crossing: Crossing, sandbox: str) -> BaseException:
    """An error to raise outside.

    Args:
        crossing: of the error inside.
        sandbox: where that was.

    Returns:
        One of the same type if it is one of this project, or of Python and made of a text; else an
        :class:`InsideError`. Its traceback inside is a note, and what the engine says of it there its ``failure``.
    """
    name = str(crossing.failure["error"])
    error = _ours(name, crossing.text) or _of_python(name, crossing.text)
    if error is None:
        error = InsideError(f"{name}: {crossing.text}")
    error.failure = crossing.failure  # type: ignore[attr-defined]  # class and frames, which are others outside
    error.add_note(f"in the sandbox {sandbox}:\n{crossing.trace}")
    return error


def _ours(name: str, text: str) -> BaseException | None:
    kind = _by_name(AnalysisError).get(name)
    if kind is None:
        return None

    def init(self: Any, text: str) -> None:
        Exception.__init__(self, text)
        self.reason = text  # of a store

    # those of some types are made of other things than their text
    methods = {"__init__": init, "__str__": lambda self: self.args[0], "__reduce__": lambda _: (_ours, (name, text))}
    made: BaseException = type(name, (kind,), {**methods, "__module__": kind.__module__})(text)
    return made


def _of_python(name: str, text: str) -> BaseException | None:
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return None
    try:
        error = kind(text)
    except TypeError:
        return None
    return error if str(error) == text else None


def _by_name(kind: type[Exception]) -> dict[str, type[Exception]]:
    found = {kind.__qualname__: kind}
    for other in kind.__subclasses__():
        found |= _by_name(other)
    return found
