"""The machine: cores, memory, disks, limits of processes, locale."""

from __future__ import annotations

import codecs
import locale
import os
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from analysis.engine.doctor.batch import is_job
from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red, yellow
from analysis.engine.errors import ParameterError

GB = 10**9
TIGHT_DISK, FULL_DISK = 10 * GB, 1 * GB
TIGHT_MEMORY = 2 * GB
"""What a branch asks for if nothing is said."""
FEW_FILES, FEW_PROCESSES = 1024, 256

_REPOSITORY = Path(__file__).resolve().parents[3]
_ENVIRONMENTS = "environments"
_CGROUP = Path("/sys/fs/cgroup")


def checks() -> Sequence[Check]:
    """All but the disks, each of which may hang."""
    return [
        Check("cores", cores),
        Check("memory", memory),
        Check("open files", open_files),
        Check("processes", processes),
        Check("core files", core_files),
        Check("locale", encoding),
    ]


def disk_checks() -> Sequence[Check]:
    """One for each directory."""
    import functools

    return [
        Check(f"disk {name}", functools.partial(disk, f"disk {name}", place, source))
        for name, place, source in _places()
    ]


def cores() -> Iterator[Finding]:
    """How many there are, and how busy they are."""
    usable, there, load = len(os.sched_getaffinity(0)), os.cpu_count() or 1, os.getloadavg()[0]
    quota = _quota()
    usable = min(usable, quota) if quota else usable
    found = f"{usable} of {there}, load {load:.1f}" if usable != there else f"{usable}, load {load:.1f}"
    if load > 2 * there:
        yield yellow("cores", found, "others use this machine as well: take fewer --workers, or a batch system")
    else:
        yield green("cores", found)


def memory() -> Iterator[Finding]:
    """How much a process can get now."""
    from analysis.engine.plan import show_size

    numbers = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (1024 * int(numbers[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    limits = {"of this container or job": _cgroup_limit(), "of this shell (ulimit -v)": _soft(resource.RLIMIT_AS)}
    found = f"{show_size(free)} free of {show_size(total)}"
    tight = [f"{show_size(limit)} {whose}" for whose, limit in limits.items() if limit is not None and limit < total]
    found += f", limit {', '.join(tight)}" if tight else ""
    most = min([free, *(limit for limit in limits.values() if limit is not None)])
    if most < TIGHT_MEMORY:
        advice = f"a branch may need {show_size(TIGHT_MEMORY)}: close something, raise the limit, or use a batch system"
        yield yellow("memory", found, advice)
    else:
        yield green("memory", found)


def open_files() -> Iterator[Finding]:
    """Files that a process may have open at once."""
    yield _limit("open files", resource.RLIMIT_NOFILE, FEW_FILES, "-n")


def processes() -> Iterator[Finding]:
    """Processes and threads that a user may have."""
    yield _limit("processes", resource.RLIMIT_NPROC, FEW_PROCESSES, "-u")


def core_files() -> Iterator[Finding]:
    """Whether a crash leaves a file as large as the memory of its process."""
    soft = _soft(resource.RLIMIT_CORE)
    pattern = Path("/proc/sys/kernel/core_pattern")
    is_piped = pattern.exists() and pattern.read_text().startswith("|")
    if soft == 0 or is_piped:
        yield green("core files", "not written" if soft == 0 else "handed to a program of the system")
    else:
        found = "a crash writes one, as large as its memory"
        yield yellow("core files", found, "run 'ulimit -c 0' in your shell unless you look for a crash")


def encoding() -> Iterator[Finding]:
    """Whether names and texts are UTF-8."""
    names = {codecs.lookup(name).name for name in (sys.getfilesystemencoding(), locale.getpreferredencoding(False))}
    wanted = next((f"{v}={os.environ[v]}" for v in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(v)), "none is set")
    if names != {"utf-8"}:
        yield red("locale", f"{', '.join(sorted(names))} ({wanted})", "run 'export LC_ALL=C.UTF-8'")
        return
    try:
        locale.setlocale(locale.LC_CTYPE, "")
    except locale.Error:
        yield yellow("locale", f"UTF-8, but {wanted} is not known here", "run 'export LC_ALL=C.UTF-8'")
    else:
        yield green("locale", f"UTF-8 ({wanted})")


def disk(name: str, place: Path, source: str) -> Iterator[Finding]:
    """Free space of a directory, and whether it can be written.

    Args:
        name: of the finding.
        place: the directory; it need not be there yet.
        source: what chooses another one.
    """
    from analysis.engine.plan import show_size

    there = next(folder for folder in (place, *place.parents) if os.path.exists(folder))  # noqa: PTH110  (it never raises)
    status = os.statvfs(there)
    free, size = status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    found = f"{show_size(free)} free of {show_size(size)} at {place}{'' if there == place else ' (not made yet)'}"
    files = status.f_favail if status.f_files else None
    if not os.access(there, os.W_OK | os.X_OK) and name == f"disk {_ENVIRONMENTS}" and there == place:
        yield grey(name, f"{place} is only read: it is shared")
    elif not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield red(
            name, f"{there} cannot be written", f"set {source} to a directory of yours, or change its permissions"
        )
    elif free < FULL_DISK or (files is not None and files < 1000):
        found += f", {files} more files" if files is not None and files < 1000 else ""
        yield red(name, found, f"make room there, or set {source} to a directory on a larger disk")
    elif free < TIGHT_DISK:
        yield yellow(name, found, f"make room there before it is full, or set {source} to another directory")
    else:
        yield green(name, found)


def _places() -> list[tuple[str, Path, str]]:
    """Directories that fill up, with what chooses them; those of stores in ``law.cfg`` as well."""
    found = [
        ("LAW_HOME", Path(os.environ.get("LAW_HOME") or Path.home() / ".law"), "LAW_HOME"),
        ("TMPDIR", Path(tempfile.gettempdir()), "TMPDIR"),
    ]
    if not is_job():  # which builds none
        folder = Path(os.environ.get("ANALYSIS_ENV_DIR") or _REPOSITORY / ".venv")
        found.append((_ENVIRONMENTS, folder, "ANALYSIS_ENV_DIR"))
    with suppress(ParameterError):  # the checks of storage say so
        found += _places_of_stores()
    return [(name, place.absolute(), source) for name, place, source in found]


def _places_of_stores() -> Iterator[tuple[str, Path, str]]:
    from analysis.engine.storage import places
    from analysis.engine.storage.reading import input_cache

    for store in places.configured():
        section = f"base in section {store.name} of law.cfg" if store.name != "local" else "ANALYSIS_STORE"
        if isinstance(store.root, Path):
            yield (f"store {store.name}", store.root, section)
        if (mirror := getattr(store, "mirror", None)) is not None:
            yield (f"mirror {store.name}", Path(mirror.root), f"mirror in section {store.name} of law.cfg")
        if (cache := getattr(getattr(store, "remote", store), "cache", None)) is not None:
            yield (f"cache {store.name}", Path(cache.root), f"cache_root in section {store.name} of law.cfg")
    if (cache := input_cache()) is not None:
        yield ("cache inputs", Path(cache.root), "cache_root in section inputs of law.cfg")


def _limit(name: str, which: int, least: int, option: str) -> Finding:
    soft, hard = _soft(which), resource.getrlimit(which)[1]
    if soft is None or soft >= least:
        return green(name, "no limit" if soft is None else f"at most {soft}")
    how = f"run 'ulimit {option} {least}'" if hard in (-1, resource.RLIM_INFINITY) or hard >= least else "ask the site"
    return yellow(name, f"at most {soft}", f"runs may need {least}: {how}")


def _soft(which: int) -> int | None:
    """A limit of this process; ``None`` for none."""
    soft = resource.getrlimit(which)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def _cgroup_limit() -> int | None:
    """Memory that the container or batch job of this process may use; ``None`` for any."""
    own = _own_cgroup()
    limits = []
    for folder in (own, *own.parents):
        try:
            limits.append(int((folder / "memory.max").read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits, default=None)


def _quota() -> int | None:
    """Cores that the container or batch job of this process may use at once; ``None`` for any."""
    try:
        share, period = (_own_cgroup() / "cpu.max").read_text().split()
        return max(1, int(share) // int(period))
    except (OSError, ValueError):
        return None


def _own_cgroup() -> Path:
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return _CGROUP
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    return _CGROUP / own.lstrip("/")
