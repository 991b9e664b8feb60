"""Folds: who learns from which events, so that no event is scored by a model that has seen it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np

    IntArray: TypeAlias = np.ndarray[Any, np.dtype[np.integer[Any]]]
    BoolArray: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]


class FoldError(AnalysisError):
    """The number of folds makes no sense."""


def fold_of(event: IntArray, folds: int) -> IntArray:
    """Fold that an event belongs to: its event number modulo the number of folds.

    With two folds this is the AGC's split by parity. Copies of one event share a fold, whatever file they are in.

    Args:
        event: event numbers, shape ``(events,)``.
        folds: number of folds, at least 2.

    Returns:
        Shape ``(events,)``.

    Raises:
        FoldError: for fewer than two folds.

    Examples:
        >>> import numpy as np
        >>> fold_of(np.array([4, 7, 10]), 5).tolist()
        [4, 2, 0]
    """
    import numpy as np

    if folds < 2:
        msg = f"--folds is {folds}, but at least 2 are needed, else events are scored by a model that has seen them"
        raise FoldError(msg)
    return np.asarray(np.asarray(event) % folds, dtype=np.int64)


def trains_on(event: IntArray, fold: int, folds: int) -> BoolArray:
    """Events that the model of a fold may learn from: all that are not in the fold, shape ``(events,)``."""
    import numpy as np

    return np.asarray(fold_of(event, folds) != fold)
