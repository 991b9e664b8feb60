"""Manifests that are no longer so: they move to the history of their task."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from analysis.engine.manifest import FOLDER, HISTORY, ManifestName
from analysis.engine.shards import shard_of

if TYPE_CHECKING:
    from pathlib import PurePath

    from analysis.engine.storage.base import Store


def names_of(branch: int | None, listed: Iterable[str]) -> list[ManifestName]:
    """Manifests of a branch among what is in their folder.

    Args:
        branch: its number; ``None`` for a task without branches.
        listed: names of all that is in the folder.
    """
    begin = "task." if branch is None else f"{branch}."  # of all branches: most are not to be parsed
    parsed = (ManifestName.parse(name) for name in listed if name.startswith(begin))
    return [name for name in parsed if name is not None]


def withdraw(store: Store, folder: PurePath, names: Iterable[ManifestName]) -> None:
    """Move manifests to the history; one may be there already. To be called by who holds the lock of their branch.

    Args:
        store: where the task writes.
        folder: folder of the task.
        names: the manifests.

    Raises:
        OSError: if the store cannot be written.
    """
    for name in names:
        when = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        branch, _, rest = str(name).partition(".")
        shard = shard_of(name.branch)
        with suppress(FileNotFoundError):
            store.move(folder / FOLDER / shard / str(name), folder / HISTORY / shard / f"{branch}.{when}.{rest}")
