"""What to do about a failure: again, with more memory or time, or never."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.records import RETRY, Attempt
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.settings import BatchSettings

FINAL = frozenset({FailureClass.CODE, FailureClass.CREDENTIAL, FailureClass.REMOVED})
"""What fails again, or what somebody wanted."""

_SOME_MEMORY = 2 * 10**9
_SOME_TIME = 3600


def tries(attempts: Sequence[Attempt]) -> list[FailureClass]:
    """Why the latest attempts failed, the last one first, as far as each was to be followed by another one.

    Args:
        attempts: of one branch, oldest first.
    """
    ended = [attempt for attempt in attempts if attempt.result is not None]
    return [a.failure or FailureClass.NODE for a in takewhile(lambda a: a.result == RETRY, reversed(ended))]


def is_tried_again(
    failure: FailureClass, before: Sequence[FailureClass], base: Resources, settings: BatchSettings, retries: int
) -> bool:
    """Whether another attempt can end better.

    Args:
        failure: of the last attempt.
        before: failures of the attempts before it, see :func:`tries`.
        base: what a first attempt asks for.
        settings: growth, and caps.
        retries: most attempts after the first one; those for want of memory or time are limited by the caps alone.
    """
    if failure in FINAL:
        return False
    had, gets = grown(base, before, settings), grown(base, [failure, *before], settings)
    if failure is FailureClass.MEMORY:
        return gets.memory > had.memory
    if failure is FailureClass.WALLTIME:
        return gets.runtime > had.runtime
    return sum(kind not in (FailureClass.MEMORY, FailureClass.WALLTIME) for kind in before) < retries


def grown(base: Resources, failures: Sequence[FailureClass], settings: BatchSettings) -> Resources:
    """What an attempt asks for after failures.

    Args:
        base: what a first attempt asks for.
        failures: of the attempts before it.
        settings: growth, and caps.
    """
    memory, runtime = failures.count(FailureClass.MEMORY), failures.count(FailureClass.WALLTIME)
    return base.override(
        memory=_grow(base.memory, _SOME_MEMORY, settings.memory_growth**memory, settings.max_memory) if memory else 0,
        runtime=_grow(base.runtime, _SOME_TIME, settings.runtime_growth**runtime, settings.max_runtime)
        if runtime
        else 0,
    )


def delay(failures: Sequence[FailureClass], settings: BatchSettings) -> float:
    """Seconds to wait before the next attempt: what is down for now needs time, more memory does not.

    Args:
        failures: see :func:`tries`.
        settings: the first delay.
    """
    if not failures or failures[0] in (FailureClass.MEMORY, FailureClass.WALLTIME):
        return 0.0
    return float(min(settings.retry_delay * 2 ** (len(failures) - 1), 3600))


def _grow(asked: int, some: int, factor: float, cap: int) -> int:
    start = asked or some
    return max(start, min(round(start * factor), cap))
