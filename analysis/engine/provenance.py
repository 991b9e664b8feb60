"""Where and with what something ran."""

from __future__ import annotations

import functools
import os
import platform
import resource
import socket
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.engine.storage.base import Store

_REPOSITORY = Path(__file__).resolve().parents[2]


@functools.cache
def here() -> dict[str, Any]:
    """Host, backend, batch job, sandbox, and the state of the code: in a job, that of the submitting side."""
    return {
        "host": socket.gethostname(),
        "backend": os.environ.get("ANALYSIS_JOB_BACKEND") or "local",
        "job": os.environ.get("ANALYSIS_JOB_ID") or None,
        "sandbox": os.environ.get("ANALYSIS_SANDBOX") or "none",
        "git_commit": git_commit(),
        "git_dirty": git_dirty(),
    }


def place(store: Store) -> dict[str, str]:
    """Where outputs live: name and kind of the store, and its label; not its address, which may change."""
    return {"name": store.name, "kind": store.kind, "qos": store.qos}


def remember_job(job: str, backend: str, commit: str, dirty: bool) -> None:
    """Let this process, and those it starts, say that they are a batch job.

    Args:
        job: id of the job.
        backend: batch system.
        commit: of the submitting side; a job may have no repository.
        dirty: whether files differed from the commit.
    """
    os.environ |= {
        "ANALYSIS_JOB_ID": job,
        "ANALYSIS_JOB_BACKEND": backend,
        "ANALYSIS_JOB_COMMIT": commit,
        "ANALYSIS_JOB_DIRTY": "1" if dirty else "0",
    }


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """Versions of Python, luigi, law and other distributions as they are installed here."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("luigi", "law", *distributions)}}


@functools.cache
def version(distribution: str) -> str:
    """Version of an installed distribution, ``"absent"`` if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


@functools.cache
def git_commit() -> str:
    """Commit of the repository; ``"unknown"`` outside a repository."""
    return os.environ.get("ANALYSIS_JOB_COMMIT") or _git("rev-parse", "--short=12", "HEAD") or "unknown"


@functools.cache
def git_dirty() -> bool:
    """Whether files of the repository differ from the commit."""
    dirty = os.environ.get("ANALYSIS_JOB_DIRTY")
    return dirty == "1" if dirty else bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_REPOSITORY), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def peak_memory() -> int:
    """Largest resident set of this process so far [bytes]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
