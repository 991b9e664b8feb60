"""What jobs find when they start: variables, a copy of the repository, the packages."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.backends.bundle import repository_bundle, sandbox_bundle
from analysis.engine.backends.settings import BatchSettings, batch_settings, jobs_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

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


@functools.cache
def job_files() -> JobFiles:
    """The code of this process for jobs, copied once: later edits do not reach jobs that wait.

    Raises:
        BundleError: if it cannot be copied.
    """
    folder, settings = jobs_folder() / "bundles", batch_settings()
    is_shared, also = settings.shared_filesystem, settings.job_files.replace(",", " ").split()
    repository = repository_bundle(_REPOSITORY, folder, packed=not is_shared, also=also).path
    environment = Path(sys.prefix)
    return JobFiles(repository, environment if is_shared else sandbox_bundle(environment, folder).path)


def job_environment(
    backend: str, spec: Path, store: Path, token: str, settings: BatchSettings, shell: Mapping[str, str] = os.environ
) -> tuple[dict[str, str], tuple[Path, ...]]:
    """Variables of a job, and the files that it is sent.

    Args:
        backend: name of the batch system.
        spec: description of the job.
        store: root of the store.
        token: of the submission.
        settings: of the site.
        shell: variables of the submitting side.

    Raises:
        BundleError: if the code cannot be copied.
        StoreError: if what jobs fetch from the store cannot be written there.
    """
    files = job_files()
    names = {*_ALWAYS, *(name.strip() for name in settings.forward_env.split(","))}
    names |= {name for name in shell if name.startswith(_OPTIONS)}
    names -= _NEVER
    environment = {
        **{name: shell[name] for name in sorted(names) if name in shell},
        "ANALYSIS_STORE": str(store),
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
    environment |= {"ANALYSIS_JOB_SPEC": spec.name, "ANALYSIS_JOB_PYTHON": str(Path(sys.executable).resolve())}
    if backend == "htcondor":
        return environment, needed
    _put_into_store(needed[1:], store)  # Slurm brings a script to a job, and only a little with it
    return environment, (spec,)


def _put_into_store(files: tuple[Path, ...], store: Path) -> None:
    from analysis.engine.commit import store_errors

    folder = store / BUNDLES
    with store_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if not (folder / file.name).exists():
                part = folder / f".{file.name}.{os.getpid()}.part"
                shutil.copy(file, part)
                part.replace(folder / file.name)
