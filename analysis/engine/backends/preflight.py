"""What would make all jobs of a workflow fail, found before the first one is submitted."""

from __future__ import annotations

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeVar

from analysis.engine.backends import jobcredentials
from analysis.engine.backends.base import BackendError
from analysis.engine.backends.jobenv import job_files
from analysis.engine.backends.jobsandbox import software_of
from analysis.engine.backends.settings import BatchSettings, jobs_folder
from analysis.engine.backends.statusline import show_duration
from analysis.engine.commit import store_errors
from analysis.engine.errors import ParameterError
from analysis.engine.storage import refresh
from analysis.engine.terminal import say

if TYPE_CHECKING:
    from analysis.engine.backends.resources import Resources
    from analysis.engine.storage.base import Store
    from analysis.engine.workflow import AnalysisWorkflow

P = TypeVar("P", bound=PurePath)


def check(workflow: AnalysisWorkflow, settings: BatchSettings) -> None:
    """Look at everything that can be known before jobs are submitted.

    Args:
        workflow: the workflow.
        settings: of the site.

    Raises:
        ParameterError: if its jobs ask for more than they may.
        BackendError: if files of jobs cannot be kept.
        StoreError: if the store cannot be written.
        CredentialError: if a credential has expired, or is none.
        SandboxError: if the environment of its software set cannot be built.
        BundleError: if packages cannot be copied.
    """
    resources = workflow.job_resources()
    check_limits(workflow.get_task_family(), resources, settings)
    check_locks(jobs_folder())
    check_store(workflow.store, workflow.folder)
    job_files(software_of(workflow, settings.shared_filesystem).environment)  # which takes a while the first time
    is_renewed = jobcredentials.is_renewed(workflow.effective_workflow, settings)
    for warning in refresh.ready(resources.runtime, is_renewed=is_renewed):
        say(f"{workflow.title()}: {warning}")


def check_limits(family: str, resources: Resources, settings: BatchSettings) -> None:
    """Compare what a job asks for with the most that it may.

    Raises:
        ParameterError: if it is more.
    """
    from analysis.engine.plan import show_size

    if resources.memory > settings.max_memory:
        asked, most, what, option = show_size(resources.memory), show_size(settings.max_memory), "memory", "memory"
    elif resources.runtime > settings.max_runtime:
        asked, most = show_duration(resources.runtime), show_duration(settings.max_runtime)
        what, option = "run time", "max-runtime"
    else:
        return
    setting = f"max_{option.removeprefix('max-')}"
    msg = (
        f"a job of {family} asks for {asked} of {what}, but {setting} is {most}: ask for less with --{option}, or "
        f"raise {setting} in section batch of law.cfg or of the profile"
    )
    raise ParameterError(msg)


def check_locks(folder: Path) -> None:
    """Look whether a folder can be written, and whether its file system has locks.

    Args:
        folder: where submissions and the ledger are.

    Raises:
        BackendError: if not.
    """
    path = _probe(folder)
    advice = "set job_file_dir in section job of law.cfg, or LAW_HOME, to another place"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("w") as first, path.open("w") as second:
            fcntl.lockf(first, fcntl.LOCK_EX | fcntl.LOCK_NB)  # as SQLite does
            fcntl.lockf(first, fcntl.LOCK_UN)  # to NFS both kinds are the same
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        msg = f"{folder} is no place for the files of jobs, which need file locks there ({reason}): {advice}"
        raise BackendError(msg) from error
    finally:
        with suppress(OSError):
            path.unlink()
    msg = f"{folder} is on a file system whose locks keep nobody out, so jobs could be doubled: {advice}"
    raise BackendError(msg)


def check_store(store: Store, folder: PurePath) -> None:
    """Write a file into a folder of the store, and remove it.

    Args:
        store: where it is.
        folder: of a workflow.

    Raises:
        StoreError: if that cannot be done.
    """
    path = _probe(folder)
    with store_errors(folder):
        store.write(path, b"probe")
        store.remove(path)


def _probe(folder: P) -> P:
    return folder / f".probe.{socket.gethostname()}-{os.getpid()}.part"
