"""The first process in a sandbox: ``python -P .../inside.py DIRECTORY``.

It has imported what tasks need, and forks a process for each task that it is asked to run, by whoever connects to its
socket. A task ends when the process that asked for it says so, or is gone, which the end of the connection tells.
The sandbox ends when the run is over: a lock on the file ``life`` is held as long as any process of the run lives; the
kernel frees the lock whatever they die of, and tells it also through the wall of a container.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
LIFE = "life"
"""Beside the directory: the lock."""
SETUP, SOCKET, TEMPORARY = "setup.json", "socket", "tmp"
"""In the directory: what to begin with, where to ask, and temporary files of tasks that have none of their own."""
END = b"end\n"
"""Request to end, instead of a task."""
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_POLL = 0.2
"""How often it is looked whether the run is over [s]."""


def main(directory: Path) -> int:
    """Serve until the run is over."""
    setup: dict[str, Any] = json.loads((directory / SETUP).read_text())
    (directory / SETUP).unlink()  # there may be secrets in it
    os.environ.update(setup["environment"])
    for name in setup["unset"]:
        os.environ.pop(name, None)
    sys.path[:0] = [path for path in setup["search"] if path not in sys.path]
    from analysis.engine.backends import tree

    tree.adopt_orphans()
    supervisor = _Supervisor(directory, setup["patience"])
    with suppress(Exception):  # it is tried again for each task, which tells of it
        _load_engine()
    try:
        supervisor.serve()
    finally:
        tree.kill_descendants()
        if supervisor.is_alone:  # nobody else will remove it; in a container it is a mount, which stays, but empty
            shutil.rmtree(directory.parent, ignore_errors=True)
    return 0


def _load_engine() -> None:
    """Import what all tasks need."""
    from analysis.engine.backends.runner import import_law

    import_law()
    for name in ("analysis.engine.session", "analysis.engine.workflow", "analysis.engine.sandboxes.worker"):
        importlib.import_module(name)


def _load(modules: Iterable[str]) -> None:
    """Import what a task imports, once for all tasks."""
    for name in modules:
        with suppress(Exception):  # it is tried again by the task, which tells of it
            importlib.import_module(name)


class _Worker:
    """A process that runs a task.

    Args:
        connection: to the process that asked for it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.deadline: float | None = None


class _Supervisor:
    """Starts and ends workers.

    Args:
        directory: of its files.
        patience: how long a worker that has to end may take to clean up [s], before it is killed.
    """

    def __init__(self, directory: Path, patience: float) -> None:
        self._directory, self._patience = directory, patience
        self._workers: dict[int, _Worker] = {}
        self._is_ending = self.is_alone = False
        self._enders: list[socket.socket] = []
        self._life = os.open(directory.parent / LIFE, os.O_RDWR | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._server = socket.socket(socket.AF_UNIX)
        with in_directory(directory) as place:
            self._server.bind(f"{place}/{SOCKET}")
        self._server.listen(64)
        self._watch(self._server, self._take)
        self._signals, wake = socket.socketpair()
        for end in (self._signals, wake):
            end.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._wake = wake
        self._watch(self._signals, self._hear_signals)
        for number in (*_ENDING, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # the loop is told of them

    def serve(self) -> None:
        """Return when the run is over, and no worker is left."""
        while self._workers or not self._is_ending:
            for key, _ in self._selector.select(_POLL):
                key.data()
            self._reap()
            self._kill_late()
            if not self.is_alone and self._nobody_lives():
                self.is_alone = True
                self._end_all()

    def _watch(self, file: socket.socket, action: Callable[[], None]) -> None:
        self._selector.register(file, selectors.EVENT_READ, action)

    def _nobody_lives(self) -> bool:
        try:
            fcntl.flock(self._life, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _take(self) -> None:
        """Take a request, and start a worker for it."""
        connection, _ = self._server.accept()
        connection.settimeout(self._patience)  # others wait as well
        try:
            line, streams = received(connection)
        except (OSError, ValueError):  # who asked is gone, or stopped in the middle
            connection.close()
            return
        connection.settimeout(None)
        if line == END:
            self._end_all()
            self._enders.append(connection)  # which ends with this process
            return
        request = json.loads(line)
        _load(request["preload"])
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        pid = os.fork()
        if pid == 0:
            self._work(request, streams, connection)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        for stream in streams:
            os.close(stream)
        self._workers[pid] = _Worker(connection)
        self._watch(connection, lambda: self._end(pid))  # it says nothing but that it ends
        if self._is_ending:
            self._end(pid)

    def _work(self, request: dict[str, Any], streams: list[int], connection: socket.socket) -> None:
        """The process that runs the task; never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            os.setsid()
            for number in (*_ENDING, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            self._leave(streams)
            from analysis.engine.backends import tree

            tree.die_with_parent()
            tree.take_children_along()  # helpers of workflows
            from analysis.engine.sandboxes.worker import work

            code = work(connection, request)
        except BaseException:  # the worker tells of all errors but its own
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _leave(self, streams: list[int]) -> None:
        """Let go of what is of the supervisor, and have streams and temporary directory of an own."""
        for number, stream in zip((1, 2), streams, strict=True):
            os.dup2(stream, number)
            os.close(stream)
        self._selector.close()
        for file in (self._server, self._signals, self._wake, *(other.connection for other in self._workers.values())):
            file.close()
        os.close(self._life)
        if (temporary := self._directory / TEMPORARY).is_dir():
            own = temporary / str(os.getpid())
            own.mkdir()
            os.environ["TMPDIR"] = str(own)

    def _hear_signals(self) -> None:
        with suppress(BlockingIOError):
            if set(self._signals.recv(4096)) & set(_ENDING):
                self._end_all()

    def _end_all(self) -> None:
        self._is_ending = True
        for pid in self._workers:
            self._end(pid)

    def _end(self, pid: int) -> None:
        """Have a worker end: first it may clean up, as after Ctrl-C."""
        worker = self._workers[pid]
        if worker.deadline is not None:
            return
        worker.deadline = time.monotonic() + self._patience
        self._selector.unregister(worker.connection)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)

    def _kill_late(self) -> None:
        from analysis.engine.backends import tree

        for pid, worker in self._workers.items():
            if worker.deadline is not None and time.monotonic() > worker.deadline:
                _kill(pid, *tree.descendants(pid))

    def _reap(self) -> None:
        """Take note of processes that ended: orphans among them."""
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if (worker := self._workers.pop(pid, None)) is None:
                    continue
                self._kill_orphans()
                shutil.rmtree(self._directory / TEMPORARY / str(pid), ignore_errors=True)
                if worker.deadline is None:
                    self._selector.unregister(worker.connection)
                with suppress(OSError):  # who asked is gone
                    worker.connection.settimeout(self._patience)
                    worker.connection.sendall(json.dumps(["ended", os.waitstatus_to_exitcode(status)]).encode() + b"\n")
                worker.connection.close()

    def _kill_orphans(self) -> None:
        """Kill what a worker has left, whatever session it is in."""
        from analysis.engine.backends import tree

        mine = {pid for worker in self._workers for pid in (worker, *tree.descendants(worker))}
        _kill(*(pid for pid in tree.descendants(os.getpid()) if pid not in mine))


def _kill(*pids: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


class in_directory:  # noqa: N801
    """A short path of a directory, for a ``with`` block: that of a socket has 107 bytes at most.

    Args:
        directory: an existing one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> str:
        self._descriptor = os.open(self._directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._descriptor}"

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def received(connection: socket.socket) -> tuple[bytes, list[int]]:
    """A line, and the files that came with it.

    Raises:
        ValueError: if it ends in the middle.
    """
    line, files = b"", []
    while not line.endswith(b"\n"):
        more, got, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        files += got
        if not more:
            msg = "the connection ended in the middle of a request"
            raise ValueError(msg)
        line += more
    return line, files


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # to clean up what was imported takes as long as a task
