"""The same request for many things at once, where each takes a round trip to a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

LIMIT = 16
"""Most calls at the same time, where nothing else is said."""


def concurrently(function: Callable[[T], R], items: Iterable[T], limit: int = LIMIT) -> list[R]:
    """Call a function for all items, some at the same time.

    No thread is left when it returns, so that a process may be forked then.

    Args:
        function: what is called.
        items: with what.
        limit: most calls at the same time.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: the first in that order; calls that did not begin are left out then.
    """
    todo = list(items)
    if len(todo) < 2 or limit < 2:
        return [function(item) for item in todo]
    from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait  # loads much, and not all need it

    with ThreadPoolExecutor(min(limit, len(todo)), thread_name_prefix="storage") as pool:
        futures = [pool.submit(function, item) for item in todo]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            for future in futures:
                future.cancel()
    return [future.result() for future in futures]  # what was cancelled comes after what failed
