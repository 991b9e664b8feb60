"""law's targets of files in stores, and back."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import law

from analysis.engine.storage import formatters

if TYPE_CHECKING:
    from analysis.engine.storage.base import Store


def make_target(store: Store, address: PurePath) -> Any:
    """The law target of a file.

    Args:
        store: its store.
        address: where it is.
    """
    if store.kind == "local":
        return law.LocalFileTarget(str(address))
    from analysis.engine.storage.law_fs import target

    return target(store, address)


def address_of(target: Any) -> PurePath:
    """Where the file of a target is: a :class:`~pathlib.Path` if and only if it is on this machine.

    Args:
        target: from :func:`make_target`, or any local target of law.
    """
    if isinstance(target, law.LocalFileTarget):
        return Path(target.path)
    from analysis.engine.storage.law_fs import address_of_remote

    address: PurePath = address_of_remote(target)
    return address


formatters.install()
