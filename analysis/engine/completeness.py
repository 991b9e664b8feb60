"""Which branches are complete: a manifest, and everything it names, with the right size.

Directories are listed once; nothing is asked about single files.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from analysis.engine.errors import ManifestError
from analysis.engine.manifest import Manifest

logger = logging.getLogger("analysis.engine")


class Listing:
    """Names and sizes of the files of directories, each listed on first use."""

    def __init__(self) -> None:
        self._sizes: dict[Path, dict[str, int]] = {}

    def size(self, path: Path) -> int | None:
        """Size of a file [bytes]; ``None`` if it does not exist."""
        return self.sizes(path.parent).get(path.name)

    def sizes(self, folder: Path) -> dict[str, int]:
        """Sizes of all files of a directory by name; empty if the directory does not exist."""
        if folder not in self._sizes:
            try:
                with os.scandir(folder) as entries:
                    self._sizes[folder] = {e.name: e.stat().st_size for e in entries if e.is_file()}
            except (FileNotFoundError, NotADirectoryError):
                self._sizes[folder] = {}
        return self._sizes[folder]


def is_complete(manifest_path: Path, store: Path, promised: Iterable[Path], listing: Listing | None = None) -> bool:
    """Whether a task's manifest exists and everything it and the task name is there.

    Args:
        manifest_path: where the manifest has to be.
        store: root of the store.
        promised: outputs that the task declares today.
        listing: listing to share among many branches.

    Returns:
        ``False`` as well for a manifest that cannot be read; a warning says so.
    """
    listing = listing or Listing()
    if listing.size(manifest_path) is None:
        return False
    try:
        manifest = Manifest.read(manifest_path)
    except (ManifestError, OSError) as error:
        logger.warning("%s", error)
        return False
    recorded = {store / output.path: output.size for output in manifest.outputs}
    return recorded.keys() == set(promised) and all(listing.size(path) == size for path, size in recorded.items())
