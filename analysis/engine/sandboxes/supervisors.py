"""Sandboxes that run: one start for all tasks of a run that need the same, each in a process forked inside.

They belong to the process that :func:`open_run` was called in, or to the first one that needed a sandbox, and are used
by all that are forked from it. When these are gone, so are they.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2s
from pathlib import Path
from typing import Any

from analysis.engine.residue import STAGED
from analysis.engine.sandboxes import inside
from analysis.engine.sandboxes.base import PATIENCE, Mount, Running, Sandbox, SandboxError, Start

EXIT_CODES = {97: "its script failed", 137: "killed, often for lack of memory", 139: "it crashed"}
_SHORTEST_POLL, _LONGEST_POLL = 0.001, 0.02
_SHORT = 2.0
"""How long the end of a run waits for the end of its sandboxes [s]; they end anyway."""


@dataclass(frozen=True)
class Setup:
    """What a sandbox is started with; tasks for which it is the same share one.

    Args:
        state: of the sandbox, which is another one when it is made anew.
        environment: variables that are set inside.
        unset: variables that are not to be there.
        search: directories of code.
        mounts: what has to be visible, for sandboxes with a file system of their own.
    """

    state: str
    environment: Mapping[str, str]
    unset: tuple[str, ...]
    search: tuple[str, ...]
    mounts: tuple[Mount, ...]


@dataclass
class _Run:
    owner: int
    directory: Path
    life: int
    started: dict[Path, Running]


_run: _Run | None = None
_opening = threading.Lock()


def _after_fork_in_child() -> None:
    global _opening  # noqa: PLW0603
    _opening = threading.Lock()  # the thread that held it is not here


os.register_at_fork(after_in_child=_after_fork_in_child)


def open_run() -> Path:
    """Directory of the sandboxes of this process, and of those forked from it; made at the first call."""
    with _opening:
        return _open_run()


def _open_run() -> Path:
    global _run  # noqa: PLW0603
    if _run is None:
        directory = Path(tempfile.mkdtemp(prefix=f"{STAGED}{os.getpid()}-sandbox_")).resolve()
        life = os.open(directory / inside.LIFE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(life, fcntl.LOCK_EX)  # until the last process that was forked from this one has ended
        _run = _Run(os.getpid(), directory, life, {})
        atexit.register(close_run, is_exit=True)
    return _run.directory


def close_run(*, is_exit: bool = False) -> None:
    """End all sandboxes of this process, if it is the one that opened the run.

    Args:
        is_exit: whether this process ends, too; then what the first process inside was started by may end after it.
    """
    global _run
    run, _run = _run, None
    if run is None or run.owner != os.getpid():
        return
    for directory, connection in [(directory, _asked_to_end(directory)) for directory in run.directory.glob("*/")]:
        if _is_over(connection) and (running := run.started.pop(directory, None)) and not is_exit:
            running.let_go()
    os.close(run.life)
    for running in run.started.values():
        running.stop()
    shutil.rmtree(run.directory, ignore_errors=True)


def _asked_to_end(directory: Path) -> socket.socket | None:
    """A connection that ends with the sandbox; none if it has ended, or never began."""
    try:
        connection = _connection(directory)
        connection.sendall(inside.END)
    except OSError:
        return None
    return connection


def _is_over(connection: socket.socket | None) -> bool:
    if connection is None:
        return False
    with connection:
        connection.settimeout(_SHORT)
        try:
            return not connection.recv(1)
        except ConnectionError:
            return True
        except TimeoutError:
            return False


@contextmanager
def asked(sandbox: Sandbox, setup: Setup, request: Callable[[], Mapping[str, Any]]) -> Iterator[Conversation]:
    """Have a task run in a sandbox, which is started if it does not run yet.

    Args:
        sandbox: to run it in.
        setup: what it is started with.
        request: makes what the worker is asked for, while the sandbox starts.

    Raises:
        SandboxError: if it does not start.
    """

    @cache
    def line() -> bytes:
        return json.dumps(request()).encode() + b"\n"

    connection = _connected(sandbox, setup, open_run() / _key(sandbox, setup), meanwhile=line)
    try:
        _send(connection, line())
        yield Conversation(connection)
    finally:
        connection.close()


class Conversation:
    """What a process inside tells of a task.

    Args:
        connection: to it; a word to it means that it has to end, and so does the end of the connection.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def listen(self, hear: Callable[[str, list[Any]], None]) -> None:
        """Hand over all it tells, until it has ended; Ctrl-C ends it."""
        try:
            self._listen(hear)
        except ConnectionError:  # the whole sandbox is gone
            return
        except BaseException:
            with suppress(OSError):
                self._connection.sendall(inside.END)
                self._connection.settimeout(PATIENCE + 2)
                self._listen(lambda _what, _values: None)
            raise

    def _listen(self, hear: Callable[[str, list[Any]], None]) -> None:
        with self._connection.makefile("rb") as lines:
            for line in lines:
                what, *values = json.loads(line)
                hear(what, values)


def _key(sandbox: Sandbox, setup: Setup) -> str:
    """Tells sandboxes apart that cannot be shared."""
    mounts = [(str(mount.path), mount.writable) for mount in setup.mounts]
    parts = [str(sandbox), setup.state, dict(setup.environment), setup.unset, setup.search, mounts]
    where = os.getcwd() if sandbox.shares_files else ""  # noqa: PTH109
    return blake2s(json.dumps([*parts, where], sort_keys=True).encode()).hexdigest()[:12]


def _connection(directory: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        with inside.in_directory(directory) as place:
            connection.connect(f"{place}/{inside.SOCKET}")
    except OSError:
        connection.close()
        raise
    return connection


def _connected(sandbox: Sandbox, setup: Setup, directory: Path, meanwhile: Callable[[], Any]) -> socket.socket:
    if connection := _connection_if_it_runs(directory, meanwhile):
        return connection
    with _one_at_a_time(directory):
        # another process may have been faster
        return _connection_if_it_runs(directory, meanwhile) or _started(sandbox, setup, directory, meanwhile)


def _connection_if_it_runs(directory: Path, first: Callable[[], Any]) -> socket.socket | None:
    """A connection, after what has to be done first: the supervisor reads at once what is said there."""
    if not (directory / inside.SOCKET).exists():
        return None
    first()
    with suppress(OSError):  # it has ended
        return _connection(directory)
    return None


def _started(sandbox: Sandbox, setup: Setup, directory: Path, meanwhile: Callable[[], Any]) -> socket.socket:
    if _run is not None and directory in _run.started:  # it was killed
        _run.started.pop(directory).stop()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    if not sandbox.shares_files:
        for name in ("home", inside.TEMPORARY):
            (directory / name).mkdir()
    settings = {
        "environment": {**setup.environment, **({} if sandbox.shares_files else _own_places(directory))},
        "unset": setup.unset,
        "search": setup.search,
        "patience": PATIENCE,
    }
    with open(os.open(directory / inside.SETUP, os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:  # noqa: PTH123
        json.dump(settings, file)
    mounts = [] if sandbox.shares_files else [*setup.mounts, Mount(directory.parent, writable=True)]
    command = ("-P", str(Path(inside.__file__)), str(directory))
    start = Start(command, directory, {"PYTHONUNBUFFERED": "1"}, mounts, (os.getuid(), os.getgid()))
    running = sandbox.start(start)
    try:
        meanwhile()
        connection = _answered(sandbox, running, directory)
    except BaseException:  # Ctrl-C as well
        running.stop()
        raise
    if _run is not None:
        _run.started[directory] = running
    return connection


def _answered(sandbox: Sandbox, running: Running, directory: Path) -> socket.socket:
    poll = _SHORTEST_POLL
    while True:
        with suppress(OSError):
            return _connection(directory)
        if running.has_ended():
            code = running.exit_code()
            what = EXIT_CODES.get(code or 0, f"exit code {code}" if code is not None else "its Python does not start")
            msg = f"{sandbox} ended without an answer ({what}): look at what it printed"
            raise SandboxError(msg)
        time.sleep(poll)
        poll = min(1.5 * poll, _LONGEST_POLL)


def _own_places(directory: Path) -> dict[str, str]:
    return {"HOME": str(directory / "home"), "TMPDIR": str(directory / inside.TEMPORARY)}


@contextmanager
def _one_at_a_time(directory: Path) -> Iterator[None]:
    """One process starts a sandbox, others wait for it."""
    descriptor = os.open(directory.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _send(connection: socket.socket, line: bytes) -> None:
    """Send a line, and what the task prints to: what this process does."""
    streams, opened = [], []
    for number in (1, 2):
        try:
            os.fstat(number)
        except OSError:  # it is closed
            number = os.open(os.devnull, os.O_WRONLY)  # noqa: PLW2901
            opened.append(number)
        streams.append(number)
    try:
        sent = socket.send_fds(connection, [line], streams)
    finally:
        for number in opened:
            os.close(number)
    connection.sendall(line[sent:])
