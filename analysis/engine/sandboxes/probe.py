"""A look around in a sandbox before the first task runs in it: what is missing is named then, and not in a traceback.

What was found good is remembered by sandbox, pinned list, stores and machine.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2s
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from analysis.engine.sandboxes.base import SandboxError

PYTHON = (3, 11)
"""Oldest version that the engine runs with."""
SCRATCH = 100_000_000
"""Space that a task needs at least for temporary files [bytes]."""
MEMORY = 200_000_000
"""Memory that a task needs at least [bytes]."""
_MOST = 3
_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[^]]*\])?==(?P<version>[^\s;#]+)\s*(?P<marker>;)?")


class Wanted(NamedTuple):
    """What a task needs of its sandbox.

    Args:
        sandbox: its name.
        pins: versions of packages; empty if the sandbox holds something else than a pinned list.
        places: directories that it writes to.
    """

    sandbox: str
    pins: Mapping[str, str]
    places: tuple[str, ...]


def pinned_versions(path: Path) -> dict[str, str]:
    """Versions that a pinned list asks for on any machine; without those that are for some only."""
    found, also_for_some = {}, set()
    for line in path.read_text().splitlines():
        if match := _PIN.match(line.strip()):
            found[match["name"]] = match["version"]
            if match["marker"]:
                also_for_some.add(match["name"])
    return {name: version for name, version in found.items() if name not in also_for_some}


def probe(wanted: Wanted) -> None:
    """Look around here.

    Raises:
        SandboxError: naming all that is wrong.
    """
    if found := list(problems(wanted)):
        msg = f"{wanted.sandbox} on {socket.gethostname()} cannot run this: {'; '.join(found)}"
        raise SandboxError(msg)


def problems(wanted: Wanted) -> Iterator[str]:
    """What is wrong here, in a few words each."""
    if sys.version_info[:2] < PYTHON:
        yield f"its Python is {sys.version.split()[0]}, and has to be 3.11 or newer"
    yield from _packages(wanted.pins)
    for place in wanted.places:
        try:
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            yield f"{place} cannot be written ({(error.strerror or str(error)).lower()})"
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < SCRATCH:
        yield f"{tempfile.gettempdir()} has {free / 1e6:.0f} MB free, and a task needs {SCRATCH / 1e6:.0f} MB"
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if available < MEMORY and (swapped := _available()) is not None and swapped < MEMORY:
        yield f"{swapped / 1e6:.0f} MB of memory are free, and a task needs {MEMORY / 1e6:.0f} MB"


def _packages(pins: Mapping[str, str]) -> Iterator[str]:
    """The same for packages."""
    if not pins:
        yield from (f"it has no {name}" for name in ("luigi", "law") if _version(name) is None)
        return
    missing = [name for name in pins if _version(name) is None]
    other = [f"{n} is {v}, not {pins[n]}" for n in pins if (v := _version(n)) is not None and v != pins[n]]
    if missing:
        yield f"it has no {_some(missing)}: build it again from its pinned list"
    if other:
        yield f"{_some(other)}: build it again from its pinned list"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _some(words: list[str]) -> str:
    more = f" and {len(words) - _MOST} more" if len(words) > _MOST else ""
    return ", ".join(words[:_MOST]) + more


def _available() -> int | None:
    """Memory that can be had [bytes]; pages of caches count as well."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


# what is remembered, outside


def mark(parts: Iterable[str]) -> Path:
    """File that says that a sandbox was found good on this machine."""
    text = "\n".join([socket.gethostname(), *parts])
    home = Path(os.environ.get("LAW_HOME") or Path.home() / ".law")
    return home / "sandboxes" / f"{blake2s(text.encode()).hexdigest()[:20]}.good"
