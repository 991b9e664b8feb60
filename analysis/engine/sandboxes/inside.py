"""The first process in a sandbox: ``python -P .../inside.py SCRATCH``.

It imports next to nothing. It forks the process that runs the task, and ends when that does, or when the process that
started the sandbox is gone. That one holds a lock on the file ``life`` as long as it lives; the kernel frees the lock
whatever it dies of, and tells, also through the wall of a container, whoever waits for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
LIFE, REQUEST, ANSWER, CHANNEL = "life", "request.json", "answer.json", "channel"
"""Files of the scratch directory: the lock, what to do, what became of it, and lines of progress on the way."""
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL = 0.02


def main(scratch: Path) -> int:
    """Have a task run; the exit code is that of the process that ran it."""
    request: dict[str, Any] = json.loads((scratch / REQUEST).read_text())
    (scratch / REQUEST).unlink()  # there may be secrets in it
    os.environ.update(request["environment"])
    for name in request["unset"]:
        os.environ.pop(name, None)
    sys.path[:0] = [path for path in request["search"] if path not in sys.path]
    from analysis.engine.backends import tree

    tree.adopt_orphans()
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)  # those that come while there is nobody to hand them to
    worker = os.fork()
    if worker == 0:
        _work(scratch, request)
    end = _End(worker, request["patience"])
    threading.Thread(target=end.when_alone, args=(scratch / LIFE,), daemon=True).start()
    for number in _ENDING:
        signal.signal(number, lambda *_: end.begin())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    try:
        return _wait(worker)
    finally:
        tree.kill_descendants()
        if end.is_alone:  # nobody else will remove it; in a container it is a mount, which stays, but empty
            shutil.rmtree(scratch, ignore_errors=True)


def _work(scratch: Path, request: dict[str, Any]) -> None:
    """The process that runs the task; never returns."""
    code = 1
    try:
        from analysis.engine.backends import tree

        os.setsid()
        for number in _ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        tree.die_with_parent()
        tree.take_children_along()  # helpers of workflows
        from analysis.engine.sandboxes.worker import work

        code = work(scratch, request)
    except BaseException:  # the worker tells of all errors but its own
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(worker: int) -> int:
    """Wait for the worker, and take note of orphans by the way."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


class _End:
    """Ends the worker: first it may clean up, as after Ctrl-C, then it is killed.

    Args:
        worker: its process id, which is that of its group.
        patience: how long it may take [s].
    """

    def __init__(self, worker: int, patience: float) -> None:
        self._worker, self._patience = worker, patience
        self._begun = False
        self.is_alone = False

    def begin(self) -> None:
        """Have it end; returns at once."""
        if not self._begun:
            self._begun = True
            with suppress(ProcessLookupError):
                os.kill(self._worker, signal.SIGINT)
            threading.Thread(target=self._kill_later, daemon=True).start()

    def when_alone(self, life: Path) -> None:
        """Have it end when nobody holds the lock any more; waits for that."""
        descriptor = os.open(life, os.O_RDWR)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        self.is_alone = True
        self.begin()

    def _kill_later(self) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            time.sleep(_POLL)
        from analysis.engine.backends import tree

        for pid in [self._worker, *tree.descendants(self._worker)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.exit(code if code >= 0 else 128 - code)
