"""The end of XRootD's client, after all else that a process does when it ends.

The client stops its threads when Python ends, and a request that comes later waits forever. What was registered last
with :mod:`atexit` is done first, and the client is loaded late. So its end is taken from it, and done by a function
that is registered before all that asks servers at the end.
"""

from __future__ import annotations

import atexit
import functools
import importlib
from collections.abc import Callable
from typing import Any

_ends: set[Callable[[], object]] = set()


@functools.cache
def install() -> None:
    """To be called before anything is registered that asks servers when the process ends."""
    atexit.register(_end)


def xrootd_client() -> Any:
    """The module ``XRootD.client``, whoever loaded it first, with its end where it belongs."""
    client = importlib.import_module("XRootD.client")
    end = importlib.import_module("XRootD.client.finalize").finalize
    if end not in _ends:
        install()
        atexit.unregister(end)
        _ends.add(end)
    return client


def _end() -> None:
    for end in _ends:
        end()
