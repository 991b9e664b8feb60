"""Calls that wait for a server, many at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

LIMIT = 16
"""Most calls at the same time."""


def concurrently(function: Callable[[T], R], items: Iterable[T], limit: int = LIMIT) -> list[R]:
    """Results of a function for many arguments, in their order.

    The threads are gone when it returns, so that the process may be forked afterwards.

    Args:
        function: called in several threads.
        items: the arguments.
        limit: most calls at the same time.

    Raises:
        Exception: the first one of the function, in the order of the arguments, after all calls have ended.
    """
    wanted = list(items)
    if len(wanted) < 2:
        return [function(item) for item in wanted]
    with ThreadPoolExecutor(min(limit, len(wanted))) as pool:
        futures = [pool.submit(function, item) for item in wanted]
    return [future.result() for future in futures]
