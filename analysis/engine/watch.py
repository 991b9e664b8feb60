"""Which outputs a task reads while it runs: those of tasks that it requires, and no others."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from analysis.engine.errors import RequirementError

if TYPE_CHECKING:
    from analysis.engine.inputs import Inputs
    from analysis.engine.task import AnalysisTask


class Reader(Protocol):
    """Whoever runs."""

    inputs: Inputs
    """Local copies of what it reads."""

    @property
    def title(self) -> str:
        """Title of the task."""

    def may_read(self, task: AnalysisTask) -> bool:
        """Whether the task requires another one, or is it."""


_reader: Reader | None = None


def reader() -> Reader | None:
    """Whoever runs in this process now, if anybody does."""
    return _reader


@contextmanager
def reading_as(reader: Reader | None) -> Iterator[None]:
    """Watch what is read for a while; ``None`` to look at outputs without reading them."""
    global _reader  # noqa: PLW0603
    before, _reader = _reader, reader
    try:
        yield
    finally:
        _reader = before


def watched(output: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Decorator of ``output`` methods: ``run()`` may ask for outputs only of tasks that ``requires()`` names.

    Others may be stale or missing, and a change of them would not be noticed.

    Raises:
        RequirementError: for others.
    """

    @functools.wraps(output)
    def wrapper(task: AnalysisTask) -> Any:
        if _reader is not None and not _reader.may_read(task):
            msg = f"{_reader.title} reads outputs of {task.title()}, which its requires() does not name: add it there"
            raise RequirementError(msg)
        return output(task)

    return wrapper
