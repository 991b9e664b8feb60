"""``analysis cache``: the local copies of remote files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from analysis.console.files import count, one_sentence

if TYPE_CHECKING:
    from analysis.engine.storage.cache import Cache

HELP = "show what the caches of remote files hold and have done, or remove all copies with --clear"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--clear", action="store_true", help="remove all copies; those in use stay for their users")


def run(arguments: argparse.Namespace) -> int:
    """Show the caches, or clear them.

    Args:
        arguments: ``clear``.

    Returns:
        Exit code.

    Raises:
        AnalysisError: if the configuration makes no sense, or a cache cannot be read or written.
    """
    from analysis.engine.storage.cache import describe

    caches = _caches()
    if not caches:
        print("There is no cache: add cache_root and cache_max_size to a store's section of law.cfg, or to [inputs].")
    with one_sentence():
        for cache in caches:
            if arguments.clear:
                removed = cache.clear()
                print(f"{cache.root}: {count(removed.files, removed.size)} removed, {removed.in_use} of them in use")
            else:
                print(describe(cache))
    return 0


def _caches() -> list[Cache]:
    from analysis.console.ls import known_stores
    from analysis.engine.storage.reading import input_cache

    stores = [getattr(store, "remote", store) for store in known_stores()]
    found = [*(getattr(store, "cache", None) for store in stores), input_cache()]
    caches = {cache.root: cache for cache in found if cache is not None}
    return [caches[root] for root in sorted(caches)]
