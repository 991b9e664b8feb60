"""Sandboxes on this machine: virtual environments, and whatever a script sets up."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from hashlib import blake2s
from pathlib import Path

from analysis.engine.sandboxes.base import Child, Running, Sandbox, SandboxError, Start
from analysis.engine.sandboxes.pinned import list_hash, pinned_list

_REPOSITORY = Path(__file__).resolve().parents[3]
_BUILD = _REPOSITORY / "sandboxes" / "environment.sh"


class VenvSandbox(Sandbox):
    """A virtual environment: that of a software set, which is built when it is missing, or any other.

    Args:
        name: of the set, or its directory.
        software: of the set.
    """

    kind = "venv"

    def is_here(self) -> bool:
        """Whether it is the one of this process."""
        here = Path(sys.prefix)
        if self.software:
            return here.name.startswith(f"{list_hash(pinned_list(self.software))}-py")
        return Path(self.name).resolve() == here.resolve()

    @property
    def directory(self) -> Path:
        """Where it is; a set that was not built yet is built."""
        return _directory(self.software) if self.software else Path(self.name)

    def identity(self) -> str:
        """See :meth:`Sandbox.identity`."""
        packages = sorted(path.name for path in self.directory.glob("lib/python*/site-packages/*.dist-info"))
        return blake2s("\n".join(packages).encode()).hexdigest()[:20]

    def state(self) -> str:
        """When packages were added or removed last."""
        changed = [path.stat().st_mtime_ns for path in self.directory.glob("lib/python*/site-packages")]
        return f"{self.directory} {changed}"

    def prepare(self) -> None:
        """See :meth:`Sandbox.prepare`."""
        if not (self.directory / "bin" / "python").exists():
            msg = f"{self}: there is no Python in {self.directory}: name the directory of a virtual environment"
            raise SandboxError(msg)

    def start(self, start: Start) -> Running:
        """See :meth:`Sandbox.start`."""
        directory = self.directory
        variables = {
            **os.environ,
            **start.environment,
            "PATH": f"{directory}/bin{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(directory),
        }
        variables.pop("PYTHONHOME", None)
        return _child([str(directory / "bin" / "python"), *start.command], variables, self)


class BashSandbox(Sandbox):
    """Whatever is there after a script was sourced.

    Args:
        name: path of the script.
        software: not used.
    """

    kind = "bash"

    def identity(self) -> str:
        """See :meth:`Sandbox.identity`."""
        self.prepare()
        return blake2s(Path(self.name).read_bytes()).hexdigest()[:20]

    def prepare(self) -> None:
        """See :meth:`Sandbox.prepare`."""
        if not os.access(self.name, os.R_OK):
            msg = f"{self}: {self.name} cannot be read: name a script that can be sourced"
            raise SandboxError(msg)

    def start(self, start: Start) -> Running:
        """See :meth:`Sandbox.start`."""
        # the script sees no arguments, and what it prints is not lost; a failure of it is one of the sandbox
        line = 'script=$1; shift; command=("$@"); set --; source "${script}" || exit 97; exec python "${command[@]}"'
        command = ["bash", "-c", line, "bash", self.name, *start.command]
        return _child(command, {**os.environ, **start.environment}, self)


def _child(command: list[str], environment: dict[str, str], sandbox: Sandbox) -> Child:
    try:
        return Child(subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True))
    except OSError as error:
        msg = f"{sandbox}: {command[0]} cannot be started ({error.strerror})"
        raise SandboxError(msg) from error


@functools.cache
def _directory(software: str) -> Path:
    """Directory of the environment of a software set, which is built when it is missing.

    Raises:
        SandboxError: if it cannot be built.
    """
    line = ["bash", str(_BUILD), software]
    said = subprocess.run(line, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
    if said.returncode:
        msg = f"venv::{software} cannot be built: see above"
        raise SandboxError(msg)
    return Path(said.stdout.strip())
