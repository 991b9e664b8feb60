"""Proxies and tokens of jobs: as files, by the means of the batch system, and never in a text that others may read."""

from __future__ import annotations

import base64
import fcntl
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.backends import settings as batch
from analysis.engine.storage import credentials as storage
from analysis.engine.storage.credentials import PROXY, TOKEN, Credential, CredentialError

if TYPE_CHECKING:
    from analysis.engine.backends.ledger import Ledger
    from analysis.engine.backends.settings import BatchSettings

VARIABLES = {PROXY: "X509_USER_PROXY", TOKEN: "BEARER_TOKEN_FILE"}
"""By which tools find them in a job."""
SECRET = "ANALYSIS_JOB_SECRET_"
"""How variables begin that bring a file to a job; ``job.sh`` writes it, and removes them."""

_NAMES = {PROXY: "x509up", TOKEN: "bt"}
_OF_THIS_MACHINE = ("/tmp", "/var/tmp", "/run", "/dev/shm", tempfile.gettempdir())


class JobCredentials(NamedTuple):
    """What the jobs of a submission are given.

    Args:
        environment: variables, without any secret.
        inputs: files that are sent.
        proxy: that HTCondor sends, and sends again when it has changed.
        secrets: variables that are handed over without being written anywhere by us.
    """

    environment: Mapping[str, str]
    inputs: tuple[Path, ...] = ()
    proxy: Path | None = None
    secrets: Mapping[str, str] = {}


def job_credentials(backend: str, settings: BatchSettings, shell: Mapping[str, str] = os.environ) -> JobCredentials:
    """Credentials of jobs.

    Args:
        backend: name of the batch system.
        settings: of the site.
        shell: variables of the submitting side.

    Raises:
        CredentialError: if one cannot be read, or is none.
    """
    found = given(shell)
    if backend == "slurm" and not settings.shared_filesystem:
        secrets = {SECRET + VARIABLES[kind]: _encoded(content_of(one, shell)) for kind, one in found.items()}
        return JobCredentials({}, secrets=secrets)
    files = {kind: _visible(one, shell) for kind, one in found.items()}
    proxy = files.pop(PROXY, None) if backend == "htcondor" else None
    if settings.shared_filesystem:
        return JobCredentials({VARIABLES[kind]: str(path) for kind, path in files.items()}, proxy=proxy)
    return JobCredentials({VARIABLES[k]: path.name for k, path in files.items()}, tuple(files.values()), proxy)


def is_renewed(backend: str, settings: BatchSettings) -> dict[str, bool]:
    """Whether jobs that run notice that a credential was renewed here, by kind."""
    shared = settings.shared_filesystem
    return {TOKEN: shared, PROXY: shared or backend == "htcondor"}


def keep_fresh(shell: Mapping[str, str] = os.environ) -> None:
    """Renew what is about to expire, and the copies that jobs have of it; called again and again while jobs run."""
    storage.keep_fresh()
    with suppress(CredentialError, OSError):  # which is said at the next submission; jobs show what they have
        for kind, one in given(shell).items():
            if (_folder() / _NAMES[kind]).exists():
                _visible(one, shell)


def forget(ledger: Ledger) -> None:
    """Remove the copies if there are no jobs any more."""
    if _folder().is_dir():
        with _alone():
            if not ledger.active_jobs():
                for name in _NAMES.values():
                    (_folder() / name).unlink(missing_ok=True)


def given(shell: Mapping[str, str] = os.environ) -> dict[str, Credential]:
    """What jobs and sandboxes get, by kind: no key that is valid for a year, no file that was forgotten in ``/tmp``.

    Args:
        shell: variables of this side.

    Raises:
        CredentialError: if one cannot be read, or is none.
    """
    import time

    now = time.time()
    return {
        one.kind: one
        for one in storage.credentials(shell)
        if one.kind in VARIABLES and (one.variable or one.is_valid(now))
    }


def content_of(one: Credential, shell: Mapping[str, str] = os.environ) -> bytes:
    """The secret itself, as it is in a file.

    Args:
        one: a credential.
        shell: variables of this side.

    Raises:
        OSError: if it cannot be read any more.
    """
    return one.path.read_bytes() if one.path else shell[one.variable].strip().encode()


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _visible(one: Credential, shell: Mapping[str, str]) -> Path:
    """A file that is seen from other machines: its own, or a copy beside the submissions."""
    if one.path and not any(one.path.resolve().is_relative_to(Path(place).resolve()) for place in _OF_THIS_MACHINE):
        return one.path.absolute()
    with _alone():
        return written(_folder() / _NAMES[one.kind], content_of(one, shell))


def written(path: Path, content: bytes) -> Path:
    """A file with a secret, replaced in one step if it is not that already; who calls this is alone."""
    if not path.exists() or path.read_bytes() != content:
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        part.replace(path)
    return path


def _folder() -> Path:
    return batch.jobs_folder() / "credentials"


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes of this user from making and removing copies."""
    _folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    with (_folder() / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
