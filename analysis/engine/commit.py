"""The commit of a task: run, verify, move into place, write the manifest. In this order, or not at all."""

from __future__ import annotations

import errno
import functools
import getpass
import inspect
import logging
import socket
import time
import warnings
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from analysis.engine import provenance, session, slots, watch
from analysis.engine.errors import OutputError, SettingError, StoreError
from analysis.engine.inputs import Inputs
from analysis.engine.leftovers import lock_path, remove_leftovers
from analysis.engine.manifest import FOLDER, Adoption, Manifest, ManifestName, OutputRecord, checksum
from analysis.engine.recipe import digest_of
from analysis.engine.recipes import required_tasks
from analysis.engine.sandboxes import outside
from analysis.engine.shards import shard_of
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage.base import Lock, RemoteError
from analysis.engine.verify import Expectation, verify
from analysis.engine.withdrawal import names_of, withdraw
from analysis.settings import UndeclaredSettingError, recorded_reads

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


logger = logging.getLogger("analysis.engine")

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EACCES: "make it writable or set ANALYSIS_STORE to another place",
    errno.EPERM: "make it writable or set ANALYSIS_STORE to another place",
}


class BusyError(Exception):
    """Another process is at work on the same branch."""


class Commit:
    """Outputs of one run of one task, from their temporary places to their final ones.

    Args:
        task: the task that runs.
        lock: the lock of the branch.
        names: of its manifests, if their folder was listed since the lock is held; others may be among them.
    """

    def __init__(self, task: AnalysisTask, lock: Lock, names: Iterable[str] | None = None) -> None:
        self._task, self._lock, self._store = task, lock, task.store
        self._folder, self._title = task.folder, task.title()
        shard = shard_of(task.branch_number)
        self._manifests = self._folder / FOLDER / shard
        self.snapshot = task.snapshot or session.snapshot_for(task)
        self._recipe, self._digest = self.snapshot.today(task)
        self._promised = set(task.output_paths())
        for path in self._promised:
            if not path.is_relative_to(self._store.root):
                where = f"not in its store {self._store.root}"
                msg = f"{self._title} promises {path}, which is {where}: make it by self.target(name)"
                raise OutputError(msg)
        self._staged: dict[PurePath, tuple[Path, Expectation]] = {}
        self._names = self._present(names)
        self._sums: dict[PurePath, tuple[int, str]] = {}
        self._known = {task.key, *(required.key for required in required_tasks(task))}
        self.accounting: dict[str, float] = {}
        self.spans: tuple[tuple[str, int, int], ...] = ()
        self.inputs = Inputs(self.snapshot)
        self.stale_inputs = tuple(self.snapshot.stale_requirements(task))

    @property
    def title(self) -> str:
        """Title of the task."""
        return self._task.title()

    def may_read(self, task: AnalysisTask) -> bool:
        """Whether the task requires another one, or is it."""
        return bool(self._known & {task.key, task.whole().key})

    def _present(self, names: Iterable[str] | None) -> list[ManifestName]:
        """Manifests of the branch that are there now: another process may have written one since the snapshot.

        A listing is of now if it was begun when the lock was held, for only its holder writes or moves them.
        """
        return names_of(self._task.branch_number, self._store.names(self._manifests) if names is None else names)

    @functools.cached_property
    def _fresh(self) -> Snapshot:
        """The store as it is now; looked at only if there is a manifest that may be of today's recipe."""
        return self.snapshot.renewed(self._task, self._names)

    def is_done(self) -> bool:
        """Whether another process made the outputs since this one looked."""
        if all(name.recipe != self._digest for name in self._names):
            return False
        found = self._fresh.record(self._task)
        return found is not None and found.recipe == self._digest

    def adoptable(self) -> Manifest | None:
        """The present manifest, if nothing but recipes of requirements changed, and their files are the same."""
        if all(name.recipe.own != self._digest.own for name in self._names):
            return None
        name = self._fresh.record(self._task)
        manifest = self._fresh.manifest(self._task) if name and name.recipe.own == self._digest.own else None
        if manifest is None:
            return None
        inputs = self.snapshot.inputs(self._task)
        return manifest if all(inputs.values()) and manifest.inputs == inputs else None

    def adopt(self, manifest: Manifest, why: str) -> Manifest:
        """Take present outputs over for today's recipe.

        Args:
            manifest: the manifest they have.
            why: the reason, for the record.
        """
        entry = Adoption(_now(), f"{getpass.getuser()}@{socket.gethostname()}", why, str(digest_of(manifest.recipe)))
        inputs = self.snapshot.inputs(self._task)
        adopted = replace(
            manifest,
            recipe=self._recipe,
            inputs=inputs,
            adopted=(*manifest.adopted, entry),
            stale_inputs=self.stale_inputs,
        )
        with store_errors(self._folder):
            # the new one first: a kill in between leaves two manifests, of which the current one counts
            self.withdraw(self._write(adopted))
        return adopted

    def begin(self) -> None:
        """Make the folders, and remove what interrupted runs have left in them."""
        with store_errors(self._folder):
            for folder in {final.parent for final in self._promised}:
                present = self.snapshot.sizes(folder, self._store)
                if not present and self._store.kind == "local":  # on servers, folders are made by what is written
                    self._store.make_folder(folder)
                remove_leftovers(self._store, folder, present)

    def stage(self, final: PurePath, expected: dict[str, Any]) -> Path:
        """Temporary local path to which an output is written.

        Raises:
            OutputError: if the task does not promise that output.
        """
        if final not in self._promised:
            msg = f"{self._task} writes {final}, which its output() does not name: add it there"
            raise OutputError(msg)
        staged = self._store.staging(final)
        self._staged[final] = (staged, Expectation(**expected))
        return staged

    @contextmanager
    def reading_what_is_declared(self) -> Iterator[None]:
        """Let the task read the settings that it declares, and no other.

        Raises:
            SettingError: from where ``run()`` reads another one.
        """
        branch = self._recipe.branch if isinstance(self._recipe.branch, dict) else {}
        try:
            with recorded_reads({*self._recipe.settings, *branch}):
                yield
        except UndeclaredSettingError as error:
            msg = (
                f"{self._task.get_task_family()} reads the setting {error.key}, which its configuration() does not "
                "declare: add it there, or its outputs would not notice when it changes"
            )
            raise SettingError(msg) from error

    def finish(self, resources: dict[str, float], started: str, messages: tuple[str, ...]) -> Manifest:
        """Verify the staged outputs.

        Returns:
            What :meth:`publish` writes.

        Raises:
            OutputError: if an output is missing, or is not what was promised.
            StoreError: if the store cannot be read.
        """
        for final in sorted(self._promised):
            staged, expectation = self._staged.get(final, (None, None))
            if staged is None or not staged.is_file():
                msg = f"{self._task} did not write {final}, which its output() promises: nothing was kept"
                raise OutputError(msg)
            try:
                verify(staged, final.name, expectation or Expectation())
            except OutputError as error:
                msg = f"{self._task.title()}: {error}: nothing was kept"
                raise OutputError(msg) from error
        with store_errors(self._folder):
            self._sums = {f: (staged.stat().st_size, checksum(staged)) for f, (staged, _) in self._staged.items()}
            return Manifest(
                recipe=self._recipe,
                outputs=tuple(OutputRecord(self._relative(final), *self._sums[final]) for final in sorted(self._sums)),
                parameters=self._task.significant_parameters(),
                branch=self._task.branch_number,
                inputs=self.snapshot.inputs(self._task),
                accounting=self.accounting,
                spans=self.spans,
                resources=resources,
                provenance={
                    "started": started,
                    "finished": _now(),
                    **provenance.here(),
                    "store": provenance.place(self._store),
                    "versions": provenance.versions(self._recipe.sandbox),
                },
                warnings=messages,
                stale_inputs=self.stale_inputs,
            )

    @property
    def size(self) -> int:
        """Of all outputs [bytes], when they are finished."""
        return sum(size for size, _ in self._sums.values())

    def publish(self, manifest: Manifest) -> None:
        """Move the staged outputs into place and write the manifest. Asks the task nothing: any thread may do it.

        Raises:
            StoreError: if the store cannot be written.
        """
        try:
            with store_errors(self._folder):
                self._check_lock()
                self.withdraw()
                self._store.publish_many(
                    [(staged, final, *self._sums[final]) for final, (staged, _) in sorted(self._staged.items())]
                )
                self._write(manifest)
        except BaseException:
            self.abort()
            raise

    def _check_lock(self) -> None:
        if not (self._lock.is_fresh() or self._lock.still_ours()):
            msg = f"{self._title} was paused for so long that another run took it over: nothing was kept, run it again"
            raise StoreError(msg)

    def _relative(self, final: PurePath) -> str:
        return final.relative_to(self._store.root).as_posix()

    def _write(self, manifest: Manifest) -> ManifestName:
        content = manifest.to_bytes()
        name = manifest.file_name(len(content), self._digest)
        self._store.write(self._manifests / str(name), content)
        return name

    def withdraw(self, keep: ManifestName | None = None) -> None:
        """Move manifests of the branch to the history: what they say is no longer so."""
        withdraw(self._store, self._folder, [name for name in self._names if name != keep])

    def abort(self) -> None:
        """Remove everything that was staged."""
        for staged, _ in self._staged.values():
            with suppress(OSError):  # the error that led here says more
                self._store.discard(staged)


def committed(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Make a ``run`` method all or nothing; :class:`AnalysisTask` applies it to every ``run`` that is defined.

    While it runs, the branch is locked. If another process made the outputs meanwhile, or they turn out to be made of
    the same files as before, it does not run at all.
    """
    if inspect.isgeneratorfunction(run):
        msg = (
            f"{run.__qualname__}() yields tasks, which cannot be committed: name them in requires(), or in a branch map"
        )
        raise TypeError(msg)

    @functools.wraps(run)
    def wrapper(task: AnalysisTask) -> None:
        if task.commit is not None:  # run() of a subclass calls that of its base class: one commit for both
            run(task)
            return
        if not task.runs_here and (sandbox := outside.chosen(task)) is not None:
            outside.enter(task, sandbox)
            return
        ahead = task.pipeline.claim(task) if task.pipeline else None
        with ExitStack() as end:
            lock = end.enter_context(hold(task, ahead.lock if ahead else None))
            if task.snapshot is None:  # the branches of a workflow share the slot of the process that runs them
                end.enter_context(slots.acquire())
            commit = Commit(task, lock, ahead.names if ahead else None)
            if commit.is_done():
                return
            manifest = commit.adoptable()
            if manifest:
                manifest = commit.adopt(manifest, "same inputs")
            else:
                manifest = _execute(task, commit, run)
                if task.pipeline:
                    publish = functools.partial(_publish, commit, manifest, end.pop_all())
                    task.pipeline.commit(task, commit.size, publish, functools.partial(task.on_commit, manifest))
                    return
                commit.publish(manifest)
        task.on_commit(manifest)

    return wrapper


def _publish(commit: Commit, manifest: Manifest, end: ExitStack) -> None:
    with end:
        commit.publish(manifest)


def _execute(task: AnalysisTask, commit: Commit, run: Callable[[Any], None]) -> Manifest:
    started, wall, cpu = _now(), time.monotonic(), time.process_time()
    task.commit = commit
    try:
        commit.begin()
        with (
            warnings.catch_warnings(record=True) as caught,
            store_errors(task.folder, _NO_SPACE),
            commit.reading_what_is_declared(),
            watch.reading_as(commit),
        ):
            warnings.simplefilter("default")
            run(task)
        resources = {
            "wall_seconds": round(time.monotonic() - wall, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
            "peak_memory_bytes": float(provenance.peak_memory()),
        }
        messages = tuple(dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught))
        return commit.finish(resources, started, messages)
    except BaseException:
        commit.abort()
        raise
    finally:
        commit.inputs.close()
        task.commit = None


@contextmanager
def hold(task: AnalysisTask, held: Lock | None = None) -> Iterator[Lock]:
    """Keep other processes from working on the same branch.

    Args:
        task: the branch.
        held: its lock, if it was taken already.

    Raises:
        BusyError: if another one does, and the task is not to wait.
    """
    folder = task.folder
    lock = held or task.store.lock(lock_path(folder, task.branch_number))
    with store_errors(folder):
        if held is None and not lock.acquire():
            if not task.waits_for_others:
                raise BusyError
            logger.info("%s waits for %s", task.title(), lock.holder() or "another process")
            lock.wait()
    try:
        yield lock
    finally:
        with store_errors(folder):
            lock.release()


@contextmanager
def store_errors(folder: PurePath, codes: Container[int] | None = None) -> Iterator[None]:
    """Turn a full disk, an exceeded quota or a missing permission into a :class:`StoreError`.

    Args:
        folder: what is written to, for the message.
        codes: the ``errno`` values that concern the store; ``None`` for all.

    Raises:
        StoreError: for these.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, RemoteError) or (codes is not None and error.errno not in codes):
            raise  # the former say themselves what to do
        advice = _ADVICE.get(error.errno or 0, "set ANALYSIS_STORE to another place")
        reason = (error.strerror or str(error)).lower()
        msg = f"{folder} cannot be written ({reason}): {advice}, then run again; nothing was half-written"
        raise StoreError(msg) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
