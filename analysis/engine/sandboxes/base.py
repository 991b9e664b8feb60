"""What a sandbox is: software, a way to start a process in it, and a way to be sure that it has ended."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from analysis.errors import AnalysisError

Kind = Literal["venv", "bash", "docker", "apptainer"]


class SandboxError(AnalysisError):
    """A sandbox cannot be had, or ended without an answer."""


class InsideError(RuntimeError):
    """A task failed in its sandbox, with an error of a type that is not known here."""


class Crossing(NamedTuple):
    """An error, as it crosses the border.

    Args:
        failure: see :meth:`analysis.engine.backends.failures.Failure.to_json`.
        text: what it says.
        trace: its traceback.
    """

    failure: dict[str, Any]
    text: str
    trace: str


@dataclass(frozen=True)
class Mount:
    """A path that is visible inside, at the same place.

    Args:
        path: file or directory.
        writable: whether it can be written inside.
    """

    path: Path
    writable: bool = False


@dataclass(frozen=True)
class Start:
    """What is started in a sandbox.

    Args:
        command: after ``python``; all paths in it are visible inside.
        scratch: directory of this start, private to the user, visible inside.
        environment: variables that the first process needs; all others cross in a file.
        mounts: what has to be visible, for sandboxes with a file system of their own.
        user: ids of user and group that it runs as.
    """

    command: Sequence[str]
    scratch: Path
    environment: Mapping[str, str]
    mounts: Sequence[Mount]
    user: tuple[int, int]


class Running(ABC):
    """A process in a sandbox."""

    @abstractmethod
    def has_ended(self) -> bool:
        """Whether it is gone."""

    @abstractmethod
    def exit_code(self) -> int | None:
        """That of one that has ended, if it is known."""

    @abstractmethod
    def let_go(self) -> None:
        """Take note of its end, which is a matter of milliseconds."""

    @abstractmethod
    def stop(self) -> None:
        """Return when it has ended, after it was asked to; it kills what does not."""


class Sandbox(ABC):
    """Something to run tasks in.

    Args:
        name: of the software set, image, directory or script.
        software: the software set that it holds, a list of the directory ``sandboxes``; empty if it is another one.
    """

    kind: ClassVar[Kind]
    shares_files: ClassVar[bool] = True
    """Whether it sees all files of this machine."""

    def __init__(self, name: str, software: str = "") -> None:
        self.name, self.software = name, software

    def __str__(self) -> str:
        return f"{self.kind}::{self.name}"

    def is_here(self) -> bool:
        """Whether this process runs in it, or in what is the same."""
        return False

    @abstractmethod
    def identity(self) -> str:
        """What tells its software from any other; the same on all machines.

        Raises:
            SandboxError: if it cannot be found out.
        """

    def state(self) -> str:
        """What changes when it is made anew; asked for at each start, so fast."""
        return ""

    @abstractmethod
    def prepare(self) -> None:
        """Make it, if it can be made here, and look whether it can be used.

        Raises:
            SandboxError: if not.
        """

    @abstractmethod
    def start(self, start: Start) -> Running:
        """Start a process.

        Raises:
            SandboxError: if it cannot be started.
        """


class Child(Running):
    """A child of this process.

    Args:
        process: it, the leader of a session of its own: Ctrl-C reaches this process alone, which then ends it.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def has_ended(self) -> bool:
        """See :meth:`Running.has_ended`."""
        return self._process.poll() is not None

    def exit_code(self) -> int | None:
        """See :meth:`Running.exit_code`."""
        return self._process.poll()

    def let_go(self) -> None:
        """See :meth:`Running.let_go`."""
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.stop()

    def stop(self) -> None:
        """See :meth:`Running.stop`."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE + 2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


PATIENCE = 4.0
"""How long what runs inside may take to end when it is asked to [s], before it is killed."""
