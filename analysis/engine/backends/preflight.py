"""What would make all jobs of a workflow fail, found before the first one is submitted."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import socket
import ssl
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.backends.base import BackendError
from analysis.engine.backends.settings import BatchSettings, jobs_folder
from analysis.engine.backends.statusline import show_duration
from analysis.engine.commit import store_errors
from analysis.engine.errors import ParameterError

if TYPE_CHECKING:
    from analysis.engine.backends.resources import Resources
    from analysis.engine.files import LocalFiles
    from analysis.engine.workflow import AnalysisWorkflow


class CredentialError(BackendError):
    """A credential that jobs are given is of no use."""


class Credential(NamedTuple):
    """What jobs show to a storage or a batch system.

    Args:
        name: what it is, and where.
        expires: Unix time; ``None`` if it does not say.
        renewal: how to get a new one.
    """

    name: str
    expires: float | None
    renewal: str


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
    """
    resources = workflow.job_resources()
    check_limits(workflow.get_task_family(), resources, settings)
    check_locks(jobs_folder())
    check_store(workflow.files, workflow.folder)
    now = time.time()
    for credential in credentials(os.environ):
        warning = check_credential(credential, resources.runtime, now)
        if warning:
            print(f"{workflow.title()}: {warning}", file=sys.stderr, flush=True)


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


def check_store(files: LocalFiles, folder: Path) -> None:
    """Write a file into a folder of the store, and remove it.

    Args:
        files: file system of the store.
        folder: of a workflow.

    Raises:
        StoreError: if that cannot be done.
    """
    path = _probe(folder)
    with store_errors(folder):
        files.write(path, b"probe")
        files.remove(path)


def _probe(folder: Path) -> Path:
    return folder / f".probe.{socket.gethostname()}-{os.getpid()}.part"


# credentials


def credentials(shell: Mapping[str, str]) -> Iterator[Credential]:
    """Credentials that jobs are given.

    Args:
        shell: variables of this shell.

    Yields:
        The proxy of ``X509_USER_PROXY``, and the token of ``BEARER_TOKEN`` or ``BEARER_TOKEN_FILE``.

    Raises:
        CredentialError: if a file cannot be read, or is no proxy.

    Source:
        WLCG Bearer Token Discovery: the token itself comes before the file.
    """
    if path := shell.get("X509_USER_PROXY"):
        renewal = "make a new one with 'voms-proxy-init --voms VO --valid 96:00'"
        expires = proxy_expires(_content("X509_USER_PROXY", path, renewal))
        if expires is None:
            msg = f"{path}, which X509_USER_PROXY names, has no certificate: {renewal}, or unset the variable"
            raise CredentialError(msg)
        yield Credential(f"the proxy {path}", expires, renewal)
    renewal = "get a new one, e.g. with 'htgettoken' or 'oidc-token'"
    if token := shell.get("BEARER_TOKEN"):
        yield Credential("the token in BEARER_TOKEN", token_expires(token), renewal)
    elif path := shell.get("BEARER_TOKEN_FILE"):
        expires = token_expires(_content("BEARER_TOKEN_FILE", path, renewal))
        yield Credential(f"the token {path}", expires, renewal)


def check_credential(credential: Credential, runtime: int, now: float) -> str:
    """Compare how long a credential is valid with how long a job may take.

    Args:
        credential: the credential.
        runtime: of a job [s]; zero if there is no limit.
        now: Unix time.

    Returns:
        A warning if it may end before a job does; empty otherwise.

    Raises:
        CredentialError: if it has ended.
    """
    name, expires, renewal = credential
    if expires is None:
        return ""
    left = expires - now
    if left <= 0:
        msg = f"{name} expired {show_duration(-left)} ago: {renewal}, then run again"
        raise CredentialError(msg)
    if left < runtime:
        return f"{name} is valid for {show_duration(left)} only, and a job may take {show_duration(runtime)}: {renewal}"
    return ""


_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_TIME = rb"(?:\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z)"
_VALIDITY = re.compile(rb"\x30[\x1e-\x22]" + _TIME + _TIME)


def proxy_expires(text: str) -> float | None:
    """Unix time at which a proxy, or a certificate that signed it, expires; ``None`` if it has no certificate.

    Args:
        text: of the file (PEM).

    Source:
        RFC 5280, 4.1.2.5: the validity is a sequence of two times, the only one of that form, each a ``UTCTime`` with
        a year of two digits, or from 2050 on a ``GeneralizedTime``; X.690 for their bytes.
    """
    ends = []
    for certificate in _CERTIFICATE.findall(text):
        try:
            found = _VALIDITY.search(ssl.PEM_cert_to_DER_cert(certificate))
        except ValueError:
            continue
        if found is not None:
            ends.append(_unix_time((found[3] or found[4]).decode()))
    return min(ends, default=None)


def _unix_time(digits: str) -> float:
    if len(digits) == len("yymmddhhmmss"):
        digits = ("19" if digits >= "50" else "20") + digits
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()


def token_expires(token: str) -> float | None:
    """Unix time at which a token expires; ``None`` if it does not say.

    Source:
        RFC 7519, 4.1.4: the number ``exp`` of the second of three parts in base64url without padding.
    """
    try:
        payload = token.strip().split(".")[1]
        expires = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get("exp")
        return None if expires is None else float(expires)
    except (IndexError, ValueError, AttributeError, TypeError):  # a token of another kind
        return None


def _content(variable: str, path: str, renewal: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        msg = f"{path}, which {variable} names, cannot be read ({reason}): {renewal}, or unset the variable"
        raise CredentialError(msg) from error
