"""How far a run is: bars on a terminal, one line per finished branch otherwise."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from analysis.engine.manifest import Manifest

_bars: Bars | None = None


def report(family: str, title: str, manifest: Manifest) -> None:
    """Say that a task is done; called in the process that ran it."""
    if _bars is not None:
        _bars.done(family)
        return
    seconds = manifest.resources.get("wall_seconds", 0.0)
    events = manifest.accounting.get("events_out")
    text = f"{title}: done in {seconds:.1f} s" + (f", {int(events):,} events" if events is not None else "")
    print(text, file=sys.stderr, flush=True)


def announce(task: Any) -> None:
    """Say that a task has work to do; called in the main process, before that task runs."""
    global _bars  # noqa: PLW0603
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return
    if _bars is None:
        _bars = Bars()
    is_workflow = hasattr(task, "is_workflow") and task.is_workflow()
    _bars.expect(task.get_task_family(), len(task.branch_map) if is_workflow else int(task.branch_number is None))


class Bars:
    """One bar per task family, drawn by the main process; worker processes report through a pipe."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress: Progress = Progress(*columns, console=Console(stderr=True))
        self._ids: dict[str, TaskID] = {}
        self._queue: multiprocessing.SimpleQueue[str | None] = multiprocessing.SimpleQueue()
        self._owner = os.getpid()
        self._progress.start()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        atexit.register(self.close)

    def expect(self, family: str, number: int) -> None:
        """Raise the number of expected branches of a task family."""
        if not number:
            return
        if family not in self._ids:
            self._ids[family] = self._progress.add_task(family, total=0)
        bar = next(t for t in self._progress.tasks if t.id == self._ids[family])
        self._progress.update(bar.id, total=(bar.total or 0) + number)

    def done(self, family: str) -> None:
        """Count one branch, from any process."""
        self._queue.put(family)

    def close(self) -> None:
        """Draw the last state and give the terminal back."""
        if os.getpid() == self._owner:
            self._queue.put(None)
            self._reader.join(timeout=5)
            self._progress.stop()

    def _read(self) -> None:
        while (family := self._queue.get()) is not None:
            if family in self._ids:
                self._progress.advance(self._ids[family])
