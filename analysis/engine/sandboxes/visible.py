"""What of this machine has to be visible in a sandbox with a file system of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import law
import luigi
from law.config import Config
from law.util import brace_expand

from analysis.engine import slots
from analysis.engine.sandboxes.base import Mount, SandboxError
from analysis.engine.storage import settings as stores

if TYPE_CHECKING:
    from analysis.engine.sandboxes.base import Sandbox
    from analysis.engine.task import AnalysisTask

REPOSITORY = Path(__file__).resolve().parents[3]
_CREDENTIALS = ("X509_USER_CERT", "X509_USER_KEY", "X509_CERT_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What names files that stay as they are; of proxies and tokens there are copies (:mod:`.credentials`)."""
_SYSTEM = ("/etc/grid-security", "/etc/pki/ca-trust", "/cvmfs")
"""Where the certificates of authorities are, and software."""


def mounts(task: AnalysisTask, sandbox: Sandbox, search: Iterable[str]) -> list[Mount]:
    """What is mounted: each path at its own place.

    Args:
        task: that runs inside.
        sandbox: where it runs.
        search: directories of code.

    Raises:
        SandboxError: if an output would be written to a place that nobody sees.
        ParameterError: if the configuration names a path that is not there.
    """
    from analysis.engine.sandboxes.settings import more_mounts

    found: dict[Path, bool] = {}
    writable = [*_disks(), *_variable("LAW_HOME"), *([Path(folder)] if (folder := slots.place()[0]) else [])]
    readable = [REPOSITORY, *map(Path, search), *_configuration(), *task.sandbox_paths()]
    readable += [path for name in _CREDENTIALS for path in _variable(name)]
    readable += [path for path in map(Path, _SYSTEM) if path.is_dir()]
    for mount in (*(Mount(p, True) for p in writable), *map(Mount, readable), *more_mounts(sandbox.kind)):
        for path in {mount.path.absolute(), mount.path.resolve()}:  # a link, and what it points to
            if path.exists():
                found[path] = found.get(path, False) or mount.writable
    result = [Mount(path, rw) for path, rw in sorted(found.items()) if not _is_covered(path, rw, found)]
    check_outputs(task, sandbox, result)
    return result


def check_outputs(task: AnalysisTask, sandbox: Sandbox, mounted: Iterable[Mount]) -> None:
    """See that what is written inside arrives outside.

    Raises:
        SandboxError: if not: a container writes to its own file system, which ends with it.
    """
    open_to_write = [mount.path for mount in mounted if mount.writable]
    for path in dict.fromkeys(path for branch in task.branch_tasks() for path in branch.output_paths()):
        if isinstance(path, Path) and not any(path.is_relative_to(place) for place in open_to_write):
            msg = (
                f"{task.title()} writes {path}, which {sandbox} does not see: "
                f"add '{path.parent}: rw' to section {sandbox.kind}_sandbox_volumes of law.cfg"
            )
            raise SandboxError(msg)


def _is_covered(path: Path, writable: bool, others: dict[Path, bool]) -> bool:
    return any(parent in others and others[parent] == writable for parent in path.parents) and not any(
        others.get(parent, writable) != writable for parent in path.parents
    )


def _disks() -> Iterator[Path]:
    """Directories of stores, mirrors and caches; made if they are not there yet.

    In a job nothing is made but caches: what it writes to is there, or is on servers.
    """
    is_job = bool(os.environ.get("ANALYSIS_JOB_BACKEND"))
    yield from _variable("ANALYSIS_STORE", make=not is_job)
    for choice in stores.choices():
        if choice.kind == "local" and choice.section:
            base = stores.local_settings(choice.section).base
            made, paths = not is_job, [base]
        elif choice.section:
            settings = stores.remote_settings(choice.section)
            made, paths = True, [None if is_job else settings.mirror, settings.cache_root]
        else:
            made, paths = False, []
        for path in filter(None, paths):
            if made:
                path.mkdir(parents=True, exist_ok=True)
            yield path
    if law.config.has_section("inputs") and (cache := law.config.get_expanded("inputs", "cache_root", default="")):
        yield Path(cache)


def _configuration() -> Iterator[Path]:
    """All files that law and luigi read: that of law may pull in others."""
    main = Config.instance().config_file
    if main:
        yield from _with_included(Path(main))
    for name in luigi.configuration.LuigiConfigParser._config_paths:
        if Path(name).is_absolute():
            yield Path(name)


def _with_included(file: Path) -> Iterator[Path]:
    """A file of law, and those that it names, which may name others: each counts from where it is."""
    if not file.is_file():
        return
    yield file
    skipped = ("defaults", "fallbacks", "includes", "env_sync", "luigi_sync", "resolve_deferred")
    content = Config(str(file), **{f"skip_{what}": True for what in skipped})
    for option in ("inherit", "extend"):
        for name in brace_expand(str(content.get_expanded("core", option, None) or ""), split_csv=True):
            if name.strip():
                yield from _with_included(Path(os.path.normpath(file.parent / name.strip())))


def _variable(name: str, make: bool = False) -> list[Path]:
    value = os.environ.get(name, "")
    if not value:
        return []
    if make:
        Path(value).mkdir(parents=True, exist_ok=True)
    return [Path(value)]
