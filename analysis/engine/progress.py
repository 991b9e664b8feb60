"""How far a run is: bars on a terminal, one line per finished branch otherwise."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import sys
import threading
from typing import TYPE_CHECKING

from analysis.engine.terminal import say

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress, TaskID

    from analysis.engine.manifest import Manifest

_bars: Bars | Relay | None = None


def start() -> None:
    """Draw bars from now on if there is a terminal; called in the main process, before workers are forked."""
    global _bars  # noqa: PLW0603
    if _bars is None and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        _bars = Bars()


def has_bars() -> bool:
    """Whether there are bars."""
    return _bars is not None


def forward(send: Callable[[str, int, int], None]) -> None:
    """Let another process draw the bars.

    Args:
        send: tells it what :meth:`Bars.send` is told.
    """
    global _bars  # noqa: PLW0603
    _bars = Relay(send)


def send(family: str, expected: int, done: int) -> None:
    """Take in what another process was told."""
    if _bars is not None:
        _bars.send(family, expected, done)


def expect(family: str, branches: int) -> None:
    """Say how many branches of a task are going to run; called in any process."""
    if _bars is not None and branches:
        _bars.send(family, expected=branches)


def report(family: str, title: str, manifest: Manifest) -> None:
    """Say that a task or branch is done; called in the process that ran it."""
    if _bars is not None:
        _bars.send(family, done=1)
        return
    say(f"{title}: {summary(manifest)}")


def summary(manifest: Manifest) -> str:
    """Time and events of a finished branch in a few words."""
    if manifest.adopted:
        return "unchanged: made of the same files as before"
    seconds = manifest.resources.get("wall_seconds", 0.0)
    events = manifest.accounting.get("events_out")
    return f"done in {seconds:.1f} s" + (f", {int(events):,} events" if events is not None else "")


class Relay:
    """Bars that another process draws.

    Args:
        tell: tells it.
    """

    def __init__(self, tell: Callable[[str, int, int], None]) -> None:
        self._tell = tell

    def send(self, family: str, expected: int = 0, done: int = 0) -> None:
        """Count branches that will run, or that are done."""
        self._tell(family, expected, done)


class Bars:
    """One bar per task family, drawn by the main process; worker processes report through a pipe."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress: Progress = Progress(*columns, console=Console(stderr=True))
        self._ids: dict[str, TaskID] = {}
        self._expected: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._queue: multiprocessing.SimpleQueue[tuple[str, int, int] | None] = multiprocessing.SimpleQueue()
        self._owner = os.getpid()
        self._progress.start()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        atexit.register(self.close)

    def send(self, family: str, expected: int = 0, done: int = 0) -> None:
        """Count branches that will run, or that are done."""
        self._queue.put((family, expected, done))

    def close(self) -> None:
        """Draw the last state and give the terminal back."""
        if os.getpid() == self._owner:
            self._queue.put(None)
            self._reader.join(timeout=5)
            self._progress.stop()

    def _read(self) -> None:
        while (message := self._queue.get()) is not None:
            family, expected, done = message
            if family not in self._ids:
                self._ids[family] = self._progress.add_task(family, total=0)
            self._expected[family] = self._expected.get(family, 0) + expected
            self._done[family] = self._done.get(family, 0) + done
            total = max(self._expected[family], self._done[family])
            self._progress.update(self._ids[family], total=total, completed=self._done[family])
