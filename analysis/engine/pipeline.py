"""Branches of a workflow whose outputs go to servers: what waits for answers goes on beside what computes.

A branch takes some twenty requests to a server, one after the other: a few for its lock before it runs, the others for
its outputs, its manifest and its lock afterwards. So the locks of the next branches are taken while one runs, all at
the same time, as long as branches are short; and a branch that ran is committed while the next one runs. ``run()``
itself, and all that knows tasks, stays in one thread.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from analysis.engine.concurrent import concurrently
from analysis.engine.leftovers import lock_path
from analysis.engine.storage.base import Lock

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

    from analysis.engine.task import AnalysisTask

GROUP = 64
"""Most branches whose locks are taken before their turn."""
SHORT = 1.0
"""Time that the branches of a group are to take in all [s]: if one takes longer, no lock is taken before its turn."""
HELD = 10.0
"""After which a lock is given back if its turn has not come [s]: another run may have time for that branch."""
COMMITS = 16
"""Most branches that are committed at the same time."""
STAGED = 2**30
"""Size of their outputs in all [bytes], more than which wait only if one branch alone has them."""


class Claim(NamedTuple):
    """The lock of a branch, taken before its turn.

    Args:
        lock: it is held.
        names: of its manifests, listed when the lock was held already: nobody else has written one since then.
    """

    lock: Lock
    names: Sequence[str]


class _Committed(NamedTuple):
    """A branch that ran, and is on its way to the servers."""

    task: AnalysisTask
    result: Future[None]
    tell: Callable[[], None]

    def end(self) -> None:
        """Raise what the commit raised, or tell that it is done."""
        self.result.result()
        self.tell()


class _Room:
    """For what is committed at the same time: at most :data:`COMMITS` branches, of at most :data:`STAGED` bytes."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._branches = self._bytes = 0

    def take(self, size: int) -> None:
        """Wait for room, and take it; a branch that is larger than all room gets it alone."""
        with self._changed:
            while self._branches and (self._branches >= COMMITS or self._bytes + size > STAGED):
                self._changed.wait()
            self._branches += 1
            self._bytes += size

    def give_back(self, size: int) -> None:
        """A branch is through."""
        with self._changed:
            self._branches -= 1
            self._bytes -= size
            self._changed.notify()


class Pipeline:
    """The branches that one thread runs, one after the other; a context manager.

    Args:
        is_deep: whether anything is done beside them; if not, this only hands them out.
    """

    def __init__(self, is_deep: bool) -> None:
        self.is_deep = is_deep
        self._size = 1
        self.has_more = False
        """Whether branches were taken from their source that have not been handed out."""
        self._groups: list[_Group] = []
        self._room = _Room()
        self._commits: deque[_Committed] = deque()
        self._pool: ThreadPoolExecutor | None = None

    # before a branch runs

    def each(self, tasks: Iterable[AnalysisTask]) -> Iterator[AnalysisTask]:
        """Hand out branches, each when its turn has come.

        Args:
            tasks: where they come from; more than one is taken only if they are short.
        """
        source = iter(tasks)
        group = list(islice(source, 1))
        while group:
            following = list(islice(source, self._size)) if self._size > 1 else []
            if following:
                self._groups.append(_Group(following))
            begin = time.monotonic()
            for left, task in enumerate(group, 1 - len(group)):
                self.has_more = bool(left or following)
                yield task
            if self.is_deep:
                each = max((time.monotonic() - begin) / len(group), 1e-3)
                self._size = max(1, min(2 * len(group), int(SHORT / each), GROUP))
            group = following or list(islice(source, 1))

    def claim(self, task: AnalysisTask) -> Claim | None:
        """The lock of a branch, if it was taken; whoever gets it has to release it.

        Raises:
            BusyError: if another process had it.
        """
        number = task.branch_number or 0
        group = next((group for group in self._groups if number in group.numbers), None)
        if group is None:
            return None
        while self._groups[0] is not group:
            self._groups.pop(0).close()
        return group.pop(number)

    # after it ran

    def commit(self, task: AnalysisTask, size: int, publish: Callable[[], None], tell: Callable[[], None]) -> None:
        """Publish the outputs of a branch beside the next branches; waits if there are too many of them.

        Args:
            task: the branch.
            size: of its outputs [bytes].
            publish: called in another thread; raises if it fails.
            tell: called by :meth:`settle` in the thread that asks for it, if it does not.
        """
        from concurrent.futures import ThreadPoolExecutor  # loads much, and not all need it

        if self._pool is None:
            self._pool = ThreadPoolExecutor(COMMITS, thread_name_prefix="commit")
        self._room.take(size)

        def within() -> None:
            try:
                publish()
            finally:
                self._room.give_back(size)

        self._commits.append(_Committed(task, self._pool.submit(within), tell))

    def settle(self, judge: Callable[[AnalysisTask, Callable[[], None]], None], wait: bool = False) -> None:
        """Say what became of the branches that were committed since the last time.

        Args:
            judge: called for each, and with a function that raises what its commit raised.
            wait: for all of them; if not, the first that is still on its way and all after it are left for later.
        """
        while self._commits and (wait or self._commits[0].result.done()):
            commit = self._commits.popleft()
            judge(commit.task, commit.end)

    def pause(self) -> None:
        """Wait for all that is on its way; nothing is said of it."""
        for group in self._groups:
            group.ready.wait()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> Self:
        if self.is_deep:
            _watch_forks()
            _active.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give back what was taken; what ran is committed, also after Ctrl-C."""
        _active.discard(self)
        self.pause()
        for group in self._groups:
            group.close()
        self._groups.clear()


class _Group:
    """Locks of some branches, taken at the same time by a thread.

    Only when all are held, the folders of their manifests are listed, once for all of them.
    """

    def __init__(self, tasks: Sequence[AnalysisTask]) -> None:
        # what asks tasks is done here, in the thread that runs them
        self.numbers = {task.branch_number or 0 for task in tasks}
        locks = {task.branch_number or 0: lock_path(task.folder, task.branch_number) for task in tasks}
        self._store = tasks[0].store
        self._mutex = threading.Lock()
        self._held: dict[int, Claim] = {}
        self._busy: set[int] = set()
        self.ready, self._over = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._run, args=(locks,), name="locks-ahead", daemon=True)
        self.thread.start()

    def pop(self, number: int) -> Claim | None:
        """The lock of a branch; ``None`` if it could not be taken, or was given back.

        Raises:
            BusyError: if another process had it.
        """
        from analysis.engine.commit import BusyError

        self.ready.wait()
        if number in self._busy:
            raise BusyError
        with self._mutex:
            claim = self._held.pop(number, None)
            if not self._held:
                self._over.set()
        return claim

    def close(self) -> None:
        """Give back what is left."""
        self.ready.wait()
        self._over.set()
        self._give_back()

    def _run(self, locks: dict[int, PurePath]) -> None:
        try:
            found = self._take(locks)
            with self._mutex:
                self._held = found
        except OSError:
            pass  # each branch asks for its own lock when its turn comes, and fails by itself
        finally:
            self.ready.set()
        if self._held and not self._over.wait(HELD):
            self._give_back()

    def _take(self, locks: dict[int, PurePath]) -> dict[int, Claim]:
        held: dict[int, Lock] = {}

        def take(number: int) -> None:
            lock = self._store.lock(locks[number])
            if lock.acquire(look=False) or lock.acquire():  # most are free
                held[number] = lock
            else:
                self._busy.add(number)

        try:
            concurrently(take, locks)
            folders = {locks[number].parent for number in held}
            listed: dict[str, list[str]] = {}  # once for all of them: each would look at the names of all branches
            for name in (name for folder in folders for name in self._store.names(folder)):
                listed.setdefault(name.partition(".")[0], []).append(name)
        except BaseException:
            _release(held.values())
            raise
        return {number: Claim(lock, listed.get(str(number), [])) for number, lock in held.items()}

    def _give_back(self) -> None:
        with self._mutex:
            left, self._held = self._held, {}
        _release(claim.lock for claim in left.values())


def _release(locks: Iterable[Lock]) -> None:
    concurrently(lambda lock: lock.release(), locks)


_active: set[Pipeline] = set()


def _before_fork() -> None:
    for pipeline in list(_active):
        pipeline.pause()


@functools.cache
def _watch_forks() -> None:
    """Wait for what is on its way before a fork.

    What is registered last comes first: so before all that what is on its way may need is held back or locked, which
    is why the modules that do so are loaded here.
    """
    for name in (
        "concurrent.futures.thread",
        "analysis.engine.storage.interfaces.common",
        "analysis.engine.storage.locks",
    ):
        importlib.import_module(name)
    os.register_at_fork(before=_before_fork, after_in_child=_active.clear)
