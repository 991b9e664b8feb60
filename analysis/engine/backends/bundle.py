"""What jobs run with: a copy of the repository that edits do not reach, and the packages of the sandbox.

Bundles are named after their content and written once, whole or not at all. Where the file system is shared, jobs run
from a directory; elsewhere they unpack a file.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from analysis.engine.backends.base import BackendError
from analysis.engine.lock import Lock

NEEDED = ("analysis", "sandboxes", "profiles", "law.cfg", "setup.sh", "pyproject.toml")
"""What a job needs of the repository."""
LARGEST = 100_000_000
"""Size of a repository [bytes] above which something is in it that does not belong there."""
UNUSED = 30 * 86400.0
"""Age [s] at which :func:`prune` removes a bundle that no submission has used meanwhile."""

_DIGITS = 16
_NAME = r"(?:repository|sandbox)-[0-9a-f]{16}(?:-py[0-9]+\.[0-9]+)?(?:\.tar\.gz)?"
_LONGEST = 1 << 20  # of the files of a submission that say something
_SKIPPED = frozenset({"__pycache__", "_virtualenv.py", "_virtualenv.pth"})


class BundleError(BackendError):
    """A bundle cannot be made."""


class Bundle(NamedTuple):
    """What a job runs with.

    Args:
        path: a directory, or a file ``*.tar.gz``.
        digest: hash of its content, part of its name.
    """

    path: Path
    digest: str


# the repository


def repository_bundle(base: Path, destination: Path, packed: bool, also: Sequence[str] = ()) -> Bundle:
    """Copy of the repository as it is now, with all that is not committed.

    Files are those that git tracks or would track; without git, all but compiled ones.

    Args:
        base: root of the repository.
        destination: directory of bundles; made if needed.
        packed: make a file instead of a directory.
        also: files and directories that jobs need beside :data:`NEEDED`.

    Raises:
        BundleError: if the repository is too large, or something cannot be read or written.
    """
    wanted = (*NEEDED, *also)
    names = sorted(_tracked(base, wanted) or _all_files(base, wanted))
    try:
        archive = _archive(base, names)
    except OSError as error:
        msg = f"{error.filename or base} cannot be read ({error.strerror}): jobs need a copy of the repository"
        raise BundleError(msg) from error
    digest = hashlib.sha256(archive).hexdigest()[:_DIGITS]
    path = destination / f"repository-{digest}{'.tar.gz' if packed else ''}"

    def make(part: Path) -> None:
        if packed:
            part.write_bytes(gzip.compress(archive, 6, mtime=0))
            return
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            if hasattr(tarfile, "data_filter"):  # not before Python 3.11.4
                tar.extraction_filter = tarfile.data_filter
            tar.extractall(part)

    _once(path, make)
    return Bundle(path, digest)


def _tracked(base: Path, wanted: Sequence[str]) -> list[str]:
    """Files that git tracks or would track; none outside of a repository."""
    command = ["git", "-C", str(base), "ls-files", "-co", "--exclude-standard", "-z", "--", *wanted]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    names = {os.fsdecode(name) for name in listed.split(b"\0") if name}
    return [name for name in names if (base / name).is_file()]  # not: deleted, or a repository within


def _all_files(base: Path, wanted: Sequence[str]) -> list[str]:
    return [file.relative_to(base).as_posix() for name in wanted for file in _files(base / name)]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for root, folders, names in os.walk(path):
        folders[:] = sorted(set(folders) - _SKIPPED)
        yield from (Path(root, name) for name in sorted(set(names) - _SKIPPED) if not name.endswith(".pyc"))


def _archive(base: Path, names: Iterable[str]) -> bytes:
    """Tar file that depends on names, contents and the right to execute only.

    Raises:
        BundleError: if it gets too large.
        OSError: if a file cannot be read.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            content = (base / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755 if os.access(base / name, os.X_OK) else 0o644
            if buffer.tell() + entry.size > LARGEST:
                msg = (
                    f"the repository {base} is larger than {LARGEST / 1e6:.0f} MB (at {name}): jobs need a copy of "
                    f"{', '.join(NEEDED)}, so move data elsewhere or let git ignore them"
                )
                raise BundleError(msg)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


# the sandbox


def sandbox_bundle(environment: Path, destination: Path) -> Bundle:
    """Packages of a Python environment, for jobs that cannot see it.

    A job runs them with any Python of the same minor version. Compiled Python files are left out: the first job on a
    machine makes them. Commands of the environment are left out as well: they name its place.

    Args:
        environment: directory of the environment.
        destination: directory of bundles; made if needed.

    Returns:
        A file ``sandbox-HASH-pyX.Y.tar.gz``; the hash is that of names and versions of the packages.

    Raises:
        BundleError: if it is no environment, or something cannot be written.
    """
    places = sorted(environment.glob("lib/python3.*/site-packages"))
    if len(places) != 1:
        msg = f"{environment} is no Python environment: it has {len(places)} directories lib/python3.*/site-packages"
        raise BundleError(msg)
    version = places[0].parent.name.removeprefix("python")
    packages = sorted(path.name for path in places[0].glob("*.dist-info"))
    digest = hashlib.sha256("\n".join([version, *packages]).encode()).hexdigest()[:_DIGITS]
    path = destination / f"sandbox-{digest}-py{version}.tar.gz"

    def make(part: Path) -> None:
        with tarfile.open(part, "w:gz", compresslevel=3) as tar:
            for file in _files(places[0]):
                tar.add(file, file.relative_to(places[0]).as_posix(), recursive=False)

    _once(path, make)
    return Bundle(path, digest)


# all bundles


def is_bundle(name: str) -> bool:
    """Whether this is the name of a bundle."""
    return re.fullmatch(_NAME, name) is not None


def used_bundles(submissions: Iterable[Path]) -> set[str] | None:
    """Names of the bundles that jobs use, as the files of their submissions have them.

    Args:
        submissions: directories of submissions with active jobs.

    Returns:
        ``None`` if one of them does not tell, e.g. since it is being written.
    """
    names: set[str] = set()
    for folder in submissions:
        try:
            files = [path for path in folder.iterdir() if path.is_file() and path.stat().st_size < _LONGEST]
            found = {name for path in files for name in re.findall(_NAME, path.read_text(errors="replace"))}
        except OSError:
            return None
        if not found:
            return None
        names |= found
    return names


def _once(path: Path, make: Callable[[Path], None]) -> None:
    """Make a bundle unless it is there, one process at a time.

    Args:
        path: the bundle.
        make: writes it to another place.

    Raises:
        BundleError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with Lock(path.with_name(f".{path.name}.lock")):
                if not path.exists():
                    _make(path, make)
        os.utime(path)  # used now, see prune()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        msg = f"{path.parent} cannot be written ({reason}): jobs find the repository and their packages there"
        raise BundleError(msg) from error


def _make(path: Path, make: Callable[[Path], None]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        make(part)
        part.rename(path)
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def unused(destination: Path, keep: Collection[str], age: float = UNUSED) -> list[Path]:
    """Bundles that nobody uses any more; ``analysis gc`` removes them.

    Args:
        destination: directory of bundles.
        keep: names of bundles that jobs may still use.
        age: time since the last submission that used them [s].
    """
    found = []
    for path in sorted([*destination.glob("repository-*"), *destination.glob("sandbox-*")]):
        with suppress(OSError):
            if path.name not in keep and time.time() - path.stat().st_mtime > age:
                found.append(path)
    return found
