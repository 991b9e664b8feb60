"""Which stores of the configuration are the same place, and which are within another one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import cast
from urllib.parse import urlsplit

from analysis.engine.errors import ParameterError
from analysis.engine.storage import settings
from analysis.engine.storage.base import Store
from analysis.engine.storage.remote import RemoteStore
from analysis.engine.storage.stores import local_store, store_named

Where = tuple[str, tuple[str, ...]]
"""Host, empty for this machine, and the parts of a path; a server has several ports and protocols for one file."""


def configured() -> list[Store]:
    """All stores that ``law.cfg`` describes, be they used or not; ``local`` if it is set.

    Raises:
        ParameterError: if one that is used makes no sense.
    """
    import law

    names = {choice.section for choice in settings.choices() if choice.section}
    found = [store_named(name) for name in sorted(names)]
    for section in sorted(set(law.config.sections()) - names):
        if settings.is_store(section):
            with suppress(ParameterError):  # not one of ours
                found.append(store_named(section))
    return [*([local_store()] if os.environ.get("ANALYSIS_STORE") else []), *found]


def same_place(one: Store, other: Store) -> bool:
    """Whether two stores have the same root, under whatever names."""
    return not _roots(one).isdisjoint(_roots(other))


def within(store: Store, others: Iterable[Store]) -> set[PurePath]:
    """Addresses in a store at which other stores, or mirrors of them, have their roots."""
    mirrors = [mirror for other in others if (mirror := getattr(other, "mirror", None)) is not None]
    below = {root for other in (*others, *mirrors) for root in _roots(other)}
    return {
        store.root.joinpath(*parts[len(top) :])
        for host, top in _roots(store)
        for where, parts in below
        if where == host and len(parts) > len(top) and parts[: len(top)] == top
    }


def _roots(store: Store) -> set[Where]:
    if isinstance(store.root, Path):
        return {("", store.root.resolve().parts[1:])}
    remote = cast("RemoteStore", getattr(store, "remote", store))
    split = [urlsplit(endpoint.base) for endpoint in remote.endpoints.all]
    return {(url.hostname or "", tuple(part for part in url.path.split("/") if part)) for url in split}
