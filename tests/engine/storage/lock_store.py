"""A server for locks that is a directory of this disk, with faults; and contenders that it makes take turns."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

from analysis.engine.holder import Holder
from analysis.engine.process import identity
from analysis.engine.storage.base import Entry, OutageError, error_of

T = TypeVar("T")
ROOT = PurePosixPath("fake:/")
TOKEN = "0123456789abcdef"
GONE = 2**22 + 1  # never the id of a process here
LOCK = ROOT / "manifests" / ".17.lock"


class Server:
    """Files of a server: names as XRootD has them, times in whole seconds."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def disk(self, path: PurePath) -> Path:
        return self.root / path.relative_to(ROOT)

    def names(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*"))


class DirectStore:
    """What one client sees; ``requests`` are those it made."""

    name = "fake"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.requests: list[str] = []

    def ask(self, operation: str, request: Callable[[], T]) -> T:
        self.requests.append(operation)
        return request()

    def stat(self, path: PurePath) -> Entry:
        return self.ask("stat", lambda: self._entry(self.server.disk(path)))

    def entries(self, folder: PurePath) -> list[Entry]:
        disk = self.server.disk(folder)
        return self.ask("list", lambda: [self._entry(path) for path in disk.iterdir()] if disk.is_dir() else [])

    def read(self, path: PurePath) -> bytes:
        def request() -> bytes:
            self._entry(self.server.disk(path))
            return self.server.disk(path).read_bytes()

        return self.ask("read", request)

    def write_plain(self, path: PurePath, content: bytes) -> None:
        def request() -> None:
            self.server.disk(path).parent.mkdir(parents=True, exist_ok=True)
            self.server.disk(path).write_bytes(content)

        self.ask("write", request)

    def rename_folder(self, folder: PurePath, destination: PurePath) -> None:
        def request() -> None:
            self._entry(self.server.disk(folder))
            self.server.disk(folder).rename(self.server.disk(destination))

        self.ask("rename", request)

    def remove(self, path: PurePath, look: bool = True) -> None:  # noqa: ARG002
        self.ask("remove", lambda: self.server.disk(path).unlink(missing_ok=True))

    def remove_folder(self, folder: PurePath) -> None:
        disk = self.server.disk(folder)
        self.ask("remove folder", lambda: disk.rmdir() if disk.is_dir() else None)

    @staticmethod
    def _entry(path: Path) -> Entry:
        try:
            status = path.stat()
        except FileNotFoundError as error:
            raise error_of(errno.ENOENT, "stat", str(path), "") from error
        return Entry(path.name, status.st_size, path.is_dir(), float(int(status.st_mtime)))


class Killed(BaseException):
    """The process of a contender is gone."""


class Turns:
    """Lets one request of one contender through at a time, in an order that is chosen from outside.

    Args:
        choices: which of those that wait is next; 0 when there are no more.
    """

    def __init__(self, choices: list[int]) -> None:
        self._choices = iter(choices)
        self._condition = threading.Condition()
        self._waiting: dict[int, bool] = {}  # whether it is the turn of this one
        self._running = 0
        self._round = 0
        self.late: list[Callable[[], object]] = []
        """Requests that the server has not done yet, although the client gave them up."""

    def run(self, contenders: list[Callable[[], None]]) -> None:
        def body(number: int, contender: Callable[[], None]) -> None:
            try:
                self.step(number, first=True)
                contender()
            except Killed:
                pass
            except BaseException as error:
                failures.append(error)
            finally:
                self._leave()

        failures: list[BaseException] = []
        self._running = len(contenders)
        threads = [threading.Thread(target=body, args=item, daemon=True) for item in enumerate(contenders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if failures:
            raise failures[0]

    def step(self, number: int, first: bool = False) -> None:
        """Wait for one's turn."""
        with self._condition:
            self._waiting[number] = False
            self._running -= 1
            self._choose()
            assert self._condition.wait_for(lambda: self._waiting[number], 60), first
            del self._waiting[number]

    def _leave(self) -> None:
        with self._condition:
            self._running -= 1
            self._choose()

    def _choose(self) -> None:
        if self._running or not self._waiting:
            return
        choice = next(self._choices, None)
        if choice is None:  # nothing is late for ever
            while self.late:
                self._do_late(0)
            numbers = sorted(self._waiting)
            self._round += 1
            chosen = numbers[self._round % len(numbers)]
        else:
            while self.late and choice % 3 == 0:
                self._do_late(choice)
                choice //= 3
            numbers = sorted(self._waiting)
            chosen = numbers[choice % len(numbers)]
        self._waiting[chosen] = True
        self._running += 1
        self._condition.notify_all()

    def _do_late(self, choice: int) -> None:
        request = self.late.pop(choice % len(self.late))
        with contextlib.suppress(OSError):  # nobody listens to the answer
            request()


class TurnStore(DirectStore):
    """A client whose requests take turns with those of others.

    Args:
        server: its files.
        turns: decides who is next.
        number: of the contender.
        faults: by number of the request: ``lost`` (not done), ``mute`` (done, no answer), ``late`` (done later, no
            answer), ``kill`` (the client is gone before it), ``killed`` (after it).
    """

    def __init__(self, server: Server, turns: Turns, number: int, faults: dict[int, str]) -> None:
        super().__init__(server)
        self._turns, self._number, self._faults = turns, number, faults
        self.dead = False

    def ask(self, operation: str, request: Callable[[], T]) -> T:
        if self.dead:
            raise Killed
        self._turns.step(self._number)
        fault = self._faults.get(len(self.requests))
        self.requests.append(operation)
        if fault in {"kill", "lost"}:
            self._fail(fault, operation)
        if fault == "late":
            self._turns.late.append(request)
            self._fail(fault, operation)
        try:
            return request()
        finally:
            if fault in {"mute", "killed"}:
                self._fail(fault, operation)

    def _fail(self, fault: str, operation: str) -> None:
        if fault.startswith("kill"):
            self.dead = True
            raise Killed
        raise OutageError(operation, "fake:/", fault)


def forge(server: Server, age: float = 0.0, token: str = TOKEN, beat: float | None = None, **changes: Any) -> None:
    """A lock of somebody like this process but for some facts."""
    facts = {**dataclasses.asdict(identity()), "since": "2026-01-01T00:00:00+00:00", "token": token, **changes}
    claim = server.disk(LOCK / token)
    claim.parent.mkdir(parents=True, exist_ok=True)
    claim.write_text(json.dumps(dataclasses.asdict(Holder(**facts))))
    make_older(claim, age)
    if beat is not None:
        sign = server.disk(LOCK / f"{token}.beat")
        sign.touch()
        make_older(sign, beat)


def make_older(path: Path, age: float) -> None:
    then = path.stat().st_mtime - age
    os.utime(path, (then, then))
