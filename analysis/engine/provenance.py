"""Where and with what something ran."""

from __future__ import annotations

import functools
import platform
import resource
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]


@functools.cache
def here() -> dict[str, str]:
    """Host, backend, versions and the state of the code, as text."""
    return {
        "host": socket.gethostname(),
        "backend": "local",
        "python": platform.python_version(),
        "git_commit": git_commit(),
        **{name: version(name) for name in ("luigi", "law")},
    }


@functools.cache
def version(distribution: str) -> str:
    """Version of an installed distribution, ``"absent"`` if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


@functools.cache
def git_commit() -> str:
    """Commit of the repository, with ``+`` if files are changed; ``"unknown"`` outside a repository."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def peak_memory() -> int:
    """Largest resident set of this process so far [bytes]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
