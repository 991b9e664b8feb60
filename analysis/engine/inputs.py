"""Local copies of what a task reads from remote stores, each compared with its manifest."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from analysis.engine.concurrent import concurrently
from analysis.engine.errors import ManifestError
from analysis.engine.recipes import required_tasks
from analysis.engine.storage.base import Store

if TYPE_CHECKING:
    from analysis.engine.manifest import OutputRecord
    from analysis.engine.snapshot import Snapshot
    from analysis.engine.task import AnalysisTask


class Inputs:
    """Copies of files, which stay until :meth:`close`.

    Args:
        snapshot: knows the manifests.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._records: dict[PurePath, tuple[Store, OutputRecord]] = {}
        self._known: set[str] = set()
        self._copies: dict[PurePath, Path] = {}
        self._stack = ExitStack()

    def localized(self, task: AnalysisTask, addresses: Iterable[PurePath]) -> list[Path]:
        """Local paths of files, which are fetched at the same time.

        Args:
            task: whose outputs they are, or that requires the tasks whose outputs they are.
            addresses: where they are; what is on this machine stays there.

        Raises:
            RemoteError: if one cannot be fetched.
            ManifestError: if no manifest tells what one has to be.
        """
        wanted = list(addresses)
        missing = dict.fromkeys(a for a in wanted if not isinstance(a, Path) and a not in self._copies)
        entered = concurrently(self._enter, [self._record(task, address) for address in missing])
        for address, (stack, path) in zip(missing, entered, strict=True):
            self._stack.push(stack)
            self._copies[address] = path
        return [a if isinstance(a, Path) else self._copies[a] for a in wanted]

    def close(self) -> None:
        """Give the copies back."""
        self._copies.clear()
        self._stack.close()

    @staticmethod
    def _enter(item: tuple[Store, PurePath, OutputRecord]) -> tuple[ExitStack, Path]:
        store, address, record = item
        stack = ExitStack()
        return stack, stack.enter_context(store.localized(address, record.size, record.adler32))

    def _record(self, task: AnalysisTask, address: PurePath) -> tuple[Store, PurePath, OutputRecord]:
        if address not in self._records:
            for owner in (task, *required_tasks(task)):
                if address.is_relative_to(owner.folder) and owner.key not in self._known:
                    self._known.add(owner.key)
                    self._read(owner)
        if address not in self._records:
            msg = f"{task.title()} reads {address}, which no manifest of what it requires names: run that first"
            raise ManifestError(msg)
        store, record = self._records[address]
        return store, address, record

    def _read(self, owner: AnalysisTask) -> None:
        store = owner.store
        branches = list(owner.branch_tasks())
        self._snapshot.read_manifests(branches)
        for branch in branches:
            manifest = self._snapshot.manifest(branch)
            for record in manifest.outputs if manifest else ():
                self._records[store.root / record.path] = store, record
