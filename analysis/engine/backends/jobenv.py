"""What jobs find when they start: variables, a copy of the repository, the packages."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from analysis.engine.backends.bundle import repository_bundle, sandbox_bundle
from analysis.engine.backends.settings import BatchSettings, batch_settings, jobs_folder
from analysis.engine.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from analysis.engine.backends.jobsandbox import Software
    from analysis.engine.storage.base import Store
    from analysis.engine.storage.remote import RemoteStore

JOB_SCRIPT = Path(__file__).with_name("job.sh")
"""What a batch system starts."""
BUNDLES = ".bundles"
"""Where jobs look for files that they were not sent, in the store."""

_REPOSITORY = Path(__file__).resolve().parents[3]
_ALWAYS = (
    *("ANALYSIS_PROFILE", "ANALYSIS_WORKER_CACHE"),
    *("X509_CERT_DIR", "SSL_CERT_DIR", "SSL_CERT_FILE"),
)
_NEVER = {"BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_CERT", "X509_USER_KEY", "X509_USER_PROXY"}
"""Others can read the variables of a job; what it gets of these is in ``jobcredentials``."""
_OPTIONS = "LAW__"
"""How variables begin that set an option of ``law.cfg`` for one call."""


class JobFiles(NamedTuple):
    """Where a job has its code from: directories where the file system is shared, files elsewhere."""

    repository: Path
    sandbox: Path


class Places(NamedTuple):
    """The stores of a submission.

    Args:
        store: that of the workflow.
        disk: ``$ANALYSIS_STORE``, if it is set.
        needs_disk: whether jobs cannot do without it.
    """

    store: Store
    disk: Path | None
    needs_disk: bool


@functools.cache
def job_repository() -> Path:
    """The code of this process for jobs, copied once: later edits do not reach jobs that wait.

    Raises:
        BundleError: if it cannot be copied.
    """
    settings = batch_settings()
    also = settings.job_files.replace(",", " ").split()
    return repository_bundle(_REPOSITORY, _bundles(), packed=not settings.shared_filesystem, also=also).path


@functools.cache
def job_files(environment: Path) -> JobFiles:
    """The code of this process, and packages, for jobs; each of them is copied once.

    Args:
        environment: directory of the packages.

    Raises:
        BundleError: if something cannot be copied.
    """
    is_shared = batch_settings().shared_filesystem
    return JobFiles(job_repository(), environment if is_shared else sandbox_bundle(environment, _bundles()).path)


def _bundles() -> Path:
    return jobs_folder() / "bundles"


def job_environment(
    backend: str,
    spec: Path,
    software: Software,
    places: Places,
    token: str,
    settings: BatchSettings,
    *,
    shell: Mapping[str, str] = os.environ,
) -> tuple[dict[str, str], tuple[Path, ...]]:
    """Variables of a job, and the files that it is sent.

    Args:
        backend: name of the batch system.
        spec: description of the job.
        software: what it runs with.
        places: the stores.
        token: of the submission.
        settings: of the site.
        shell: variables of the submitting side.

    Raises:
        BundleError: if the code cannot be copied.
        StoreError: if what jobs fetch from the store cannot be written there.
        RemoteError: the same, of a store on servers.
    """
    files = job_files(software.environment)
    names = {*_ALWAYS, *(name.strip() for name in settings.forward_env.split(","))}
    names |= {name for name in shell if name.startswith(_OPTIONS)}
    names -= _NEVER
    environment = {
        **{name: shell[name] for name in sorted(names) if name in shell},
        **software.variables,
        **({"ANALYSIS_STORE": str(places.disk)} if places.disk else {}),
        "ANALYSIS_JOB_STORES": "local" if places.needs_disk else "remote",
        "ANALYSIS_JOB_BACKEND": backend,
        "ANALYSIS_JOB_TOKEN": token,
        "ANALYSIS_JOB_SPEC": str(spec),
        "ANALYSIS_JOB_REPOSITORY": str(files.repository),
        "ANALYSIS_JOB_SANDBOX": str(files.sandbox),
    }
    for name in _ALWAYS[2:]:  # job_files may bring certificates along
        if Path(environment.get(name, "")).is_relative_to(_REPOSITORY):
            environment[name] = str(Path(environment[name]).relative_to(_REPOSITORY))
    if settings.shared_filesystem:
        return environment, ()
    needed = (spec, files.repository, files.sandbox)
    environment |= {
        "ANALYSIS_JOB_SPEC": spec.name,
        "ANALYSIS_JOB_REPOSITORY": files.repository.name,
        "ANALYSIS_JOB_SANDBOX": files.sandbox.name,
        "ANALYSIS_JOB_PYTHON": str(software.python),
    }
    if backend != "htcondor":
        sent = 1  # Slurm brings a script to a job, and only a little with it
    elif environment.get("ANALYSIS_WORKER_CACHE") and not isinstance(places.store, LocalStore):
        sent = 2  # it would send the packages with each job, also where they are kept
    else:
        return environment, needed
    environment["ANALYSIS_JOB_BUNDLES"] = bundle_addresses(places.store)
    put_into_store(needed[sent:], places.store)
    return environment, needed[:sent]


def bundle_addresses(store: Store) -> str:
    """Where jobs look for bundles: a directory, or URLs of the same folder at all endpoints, with spaces in between."""
    if isinstance(store, LocalStore):
        return str(store.root / BUNDLES)
    return " ".join(f"{endpoint.base}/{BUNDLES}" for endpoint in _servers(store).endpoints.all)


def put_into_store(files: tuple[Path, ...], store: Store) -> None:
    """Have bundles be in the store. Names have hashes of the content: what is there is not written again.

    Args:
        files: the bundles.
        store: where jobs look for them.

    Raises:
        StoreError: if they cannot be written.
        RemoteError: the same, of a store on servers.
    """
    from analysis.engine.commit import store_errors
    from analysis.engine.manifest import checksum

    folder = store.root / BUNDLES
    with store_errors(folder):
        known = set(store.names(folder))
        for file in files:
            if file.name in known:
                continue
            if isinstance(store, LocalStore):
                store.put(file, folder / file.name)
            else:
                _servers(store).upload(file, folder / file.name, file.stat().st_size, checksum(file))


def _servers(store: Store) -> RemoteStore:
    """A store on servers without its mirror, which jobs do not look at."""
    return cast("RemoteStore", getattr(store, "remote", store))
