"""The testbed from Python: real batch systems, storage and containers on this machine (``docs/testbed.md``)."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]


class TestbedError(Exception):
    """The testbed cannot be had, or one of its commands failed."""

    __test__ = False


def command(name: str, *arguments: str, timeout: float = 1800) -> str:
    """Call a command of the testbed, such as ``up``.

    Args:
        name: file in this directory.
        *arguments: its arguments.
        timeout: [s] after which it is ended; the first start installs packages.

    Returns:
        What it printed.

    Raises:
        TestbedError: it failed.
    """
    finished = subprocess.run(
        [HERE / name, *arguments],
        env={**os.environ, "VIRTUAL_ENV": sys.prefix},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if finished.returncode != 0:
        msg = f"tests/testbed/{shlex.join([name, *arguments])} failed:\n{finished.stdout}{finished.stderr}"
        raise TestbedError(msg)
    return finished.stdout.strip()


@dataclass(frozen=True)
class System:
    """HTCondor (daemons: master, collector, ..., schedd), Slurm (munged, ..., slurmd), the storage or the sandboxes.

    Each method returns when the daemons answer, or are gone. Without daemons, the whole system is meant.

    Args:
        name: ``htcondor`` or ``slurm``; ``storage`` and ``sandboxes`` have classes of their own, in files of that name.
    """

    name: str

    def start(self, *daemons: str) -> None:
        """Start what is not running."""
        command("up", *(daemons or [self.name]))

    def stop(self, *daemons: str) -> None:
        """Stop; running jobs end only with the whole system, or with the ``master`` of HTCondor."""
        command("down", *(daemons or [self.name]))

    def kill(self, *daemons: str) -> None:
        """End by SIGKILL, as in a crash. The master of HTCondor starts its daemons again by itself."""
        command("down", "--kill", *(daemons or [self.name]))

    def restart(self, *daemons: str) -> None:
        """Stop and start."""
        self.stop(*daemons)
        self.start(*daemons)

    @contextmanager
    def without(self, *daemons: str) -> Iterator[None]:
        """Stop for the time of a ``with`` block."""
        try:
            self.stop(*daemons)
            yield
        finally:
            self.start(*daemons)

    @contextmanager
    def settings(self, *lines: str) -> Iterator[None]:
        """Have other settings, as lines ``KEY = VALUE`` of the system's own configuration, for a ``with`` block."""
        try:
            command("configure", self.name, *lines)
            yield
        finally:
            command("configure", self.name)

    def is_up(self) -> bool:
        """Whether all of its daemons answer."""
        return subprocess.run([HERE / "status", self.name], stdout=subprocess.DEVNULL, check=False).returncode == 0

    def processes(self) -> dict[str, int]:
        """Process ids of the daemons that run."""
        said = subprocess.run([HERE / "status", self.name], stdout=subprocess.PIPE, text=True, check=False).stdout
        rows = (line.split() for line in said.splitlines())
        return {daemon: int(process) for _, daemon, _, process in rows if process != "-"}


@dataclass(frozen=True)
class Testbed:
    """Both systems, and the unprivileged user who submits to them."""

    __test__ = False

    directory: Path = field(default_factory=lambda: Path(os.environ.get("TESTBED_DIR", "/opt/analysis-testbed")))
    user: str = field(default_factory=lambda: os.environ.get("TESTBED_USER", "analyst"))
    htcondor: System = System("htcondor")
    slurm: System = System("slurm")

    @cached_property
    def python(self) -> Path:
        """A Python with the project's packages that the user can execute; made at first use."""
        return Path(command("python"))

    @cached_property
    def bindings(self) -> Path:
        """Directory for PYTHONPATH with HTCondor's Python bindings for this pool; made at first use."""
        return Path(command("python", "--bindings"))

    @cached_property
    def repository(self) -> Path:
        """Copy of the checkout that the user can read, as of the first use; :meth:`sync` renews it."""
        return self.sync()

    def sync(self) -> Path:
        """Bring the copy of the checkout up to date."""
        return Path(command("sync"))

    def scratch(self, name: str) -> Path:
        """A new, empty directory of the user; what had that name is removed."""
        folder = self.directory / "scratch" / name
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        shutil.chown(folder, self.user, self.user)
        return folder

    def environment(self, **more: str) -> dict[str, str]:
        """Whole environment of the user: what ``setup.sh`` sets for the copy of the checkout, and all clients.

        Args:
            **more: variables to add or replace, such as ``ANALYSIS_STORE`` and ``LAW_HOME``.
        """
        clients = ":".join(f"{self.directory}/{system}/bin" for system in ("htcondor", "slurm", "sandboxes"))
        return {
            "HOME": f"{self.directory}/home",
            "USER": self.user,
            "LOGNAME": self.user,
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "PATH": f"{self.python.parent}:{clients}:/usr/local/bin:/usr/bin:/bin",
            "CONDOR_CONFIG": f"{self.directory}/htcondor/etc/condor_config",
            "SLURM_CONF": f"{self.directory}/slurm/etc/slurm.conf",
            "DOCKER_HOST": f"unix://{self.directory}/sandboxes/run/docker.sock",
            "ANALYSIS_ENV_DIR": f"{self.directory}/environments",
            "ANALYSIS_PYTHON": "/usr/bin/python3",
            "ANALYSIS_DEV": "1",
            "VIRTUAL_ENV": str(self.python.parents[1]),
            "PYTHONPATH": str(self.repository),
            "ANALYSIS_BASE": str(self.repository),
            "LAW_CONFIG_FILE": f"{self.repository}/law.cfg",
            **more,
        }

    def command_line(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> list[str]:
        """What runs a command as the user; the process that it makes becomes the command, so signals reach it."""
        variables = {**self.environment(), **environment}
        return [str(HERE / "as-user"), *(f"{name}={value}" for name, value in variables.items()), *map(str, command)]

    def as_user(
        self,
        *command: str | Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout: float = 600,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the user, to its end.

        Args:
            *command: program and arguments.
            environment: added to :meth:`environment`.
            folder: working directory, below that of the testbed; default: the home directory of the user.
            timeout: [s] after which it is killed and ``subprocess.TimeoutExpired`` raised.

        Returns:
            Exit code and output.
        """
        line = self.command_line(command, environment or {})
        return subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=timeout)

    def start_as_user(
        self, *command: str | Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> subprocess.Popen[str]:
        """Start a command as the user, in a session of its own, output and errors in one pipe.

        Args:
            *command: program and arguments.
            environment: added to :meth:`environment`.
            folder: working directory, as in :meth:`as_user`.

        Returns:
            Process; its id is that of the command.
        """
        return subprocess.Popen(
            self.command_line(command, environment or {}),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def succeed(
        self,
        *command: str | Path,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        timeout: float = 600,
    ) -> str:
        """What a command of the user prints that has to end well; arguments as in :meth:`as_user`."""
        finished = self.as_user(*command, environment=environment, folder=folder, timeout=timeout)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout


def missing() -> str:
    """Why the testbed cannot be started on this machine; empty if it can."""
    if os.geteuid() != 0:
        return "only root can start the testbed"
    if shutil.which("apt-get") is None:
        return "the testbed needs Debian's packages, and there is no apt-get"
    return ""
