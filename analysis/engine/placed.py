"""Where the outputs of a task live, and where its ``run()`` reads and writes them."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, cast

import law
import luigi

from analysis.engine import session
from analysis.engine.shards import shard_of
from analysis.engine.storage.stores import store_for
from analysis.engine.storage.targets import address_of, make_target
from analysis.engine.watch import reading_as

if TYPE_CHECKING:
    from analysis.engine.commit import Commit
    from analysis.engine.storage.base import Store
    from analysis.engine.task import AnalysisTask


class PlacedTask(law.Task):  # type: ignore[misc]
    """A task with outputs in a store."""

    exclude_index = True

    commit: Commit | None = None
    """What becomes of the outputs; while the task runs."""

    @property
    def branch_number(self) -> int | None:
        """Branch number; ``None`` for a task without branches, and for a whole workflow."""
        return None

    @property
    def relative_folder(self) -> str:
        """Folder of the outputs in the store, the same for all branches."""
        raise NotImplementedError

    @property
    def store(self) -> Store:
        """Where the outputs live: section ``outputs`` of ``law.cfg`` says it by task family.

        Raises:
            ParameterError: if ``ANALYSIS_STORE`` is needed, and not set, or no path that can be used.
        """
        return store_for(self.get_task_family())

    @property
    def folder(self) -> PurePath:
        """Address of the folder of this task's outputs, the same for all branches."""
        return _joined(self.store.root, self.relative_folder)

    def target(self, name: str) -> Any:
        """Output target of that file name in :attr:`folder`, or for a high branch number in a folder of that."""
        return make_target(self.store, _joined(self.folder, shard_of(self.branch_number)) / name)

    def output_paths(self, outputs: Collection[str] | None = None) -> list[PurePath]:
        """Addresses of all outputs, or of those with the given names."""
        with reading_as(None):
            found = self.output()
        if outputs is not None:
            found = [found[name] for name in sorted(outputs)]
        return [address_of(target) for target in luigi.task.flatten(found)]

    def staged(self, target: Any, **expected: Any) -> Path:
        """Temporary local path to which ``run()`` writes an output.

        Args:
            target: the output.
            expected: what has to be found in it, see :class:`analysis.engine.verify.Expectation`.

        Raises:
            OutputError: if ``output()`` does not name the target.
            RuntimeError: outside ``run()``.
        """
        if self.commit is None:
            msg = "staged() can only be called in run()"
            raise RuntimeError(msg)
        return self.commit.stage(address_of(target), expected)

    def localized(self, target: Any) -> Path:
        """Local path at which an output, of this task or of one that it requires, can be read.

        A remote file is copied first, and compared with its manifest. The copy stays until ``run()`` ends; outside of
        ``run()``, until the process does.

        Args:
            target: the output.

        Raises:
            RemoteError: if it cannot be fetched.
            ManifestError: if no manifest tells what it has to be.
        """
        return self.localized_all([target])[0]

    def localized_all(self, targets: Iterable[Any]) -> list[Path]:
        """The same for many outputs, which are fetched at the same time."""
        addresses = [address_of(target) for target in targets]
        paths = [address for address in addresses if isinstance(address, Path)]
        if len(paths) == len(addresses):
            return paths
        return (self.commit.inputs if self.commit else session.inputs()).localized(
            cast("AnalysisTask", self), addresses
        )


@functools.lru_cache(maxsize=1024)
def _joined(above: PurePath, name: str) -> PurePath:
    """A folder in another one; asked several times for each branch."""
    return above / name
