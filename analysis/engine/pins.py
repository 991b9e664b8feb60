"""Which pinned packages some code uses: the part of the sandbox that the output of a task depends on."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import AnalysisError

_DISTRIBUTIONS = {
    "attr": "attrs",
    "daemon": "python-daemon",
    "dateutil": "python-dateutil",
    "mpl-toolkits": "matplotlib",
    "pil": "pillow",
    "pylab": "matplotlib",
    "pyxrootd": "xrootd",
    "sklearn": "scikit-learn",
    "xgboost": "xgboost-cpu",
    "yaml": "pyyaml",
}
"""Distributions that are not called as they are imported."""

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(\[[^]]*\])?==(?P<version>[^\s;]+)(\s*;.*)?")


class PinError(AnalysisError):
    """A pinned list is absent or cannot be understood."""


@dataclass(frozen=True)
class PinnedList:
    """Versions of a sandbox's packages.

    Attributes:
        path: the file.
        versions: version of each distribution, whatever environment its line is for.
        needs: distributions that a distribution requires, from the ``# via`` annotations. One that no annotation
            explains counts as needed by all.
    """

    path: Path
    versions: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]]


def read_pins(path: Path) -> PinnedList:
    """Read a list that ``sandboxes/pin.sh`` wrote.

    Args:
        path: the file; it is read again only if it changed.

    Raises:
        PinError: if there is no such file, or a line of it is no pin.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, UnicodeDecodeError) else (error.strerror or str(error)).lower()
        msg = f"the pinned list {path} cannot be read ({reason}): write it with sandboxes/pin.sh, or take it from git"
        raise PinError(msg) from error


def pins_of(pins: PinnedList, packages: Iterable[str]) -> dict[str, str]:
    """Versions of packages and of everything they need.

    Args:
        pins: the pinned list.
        packages: names as they are imported.

    Returns:
        Versions by distribution, sorted; the whole list if a package is in no pin, as nobody knows what it needs.
    """
    queue = [_distribution(name, pins.versions) for name in packages]
    found: set[str] = set()
    while queue:
        name = queue.pop()
        if name not in pins.versions:
            found = set(pins.versions)
            break
        if name not in found:
            found.add(name)
            queue.extend(pins.needs.get(name, ()))
    return {name: pins.versions[name] for name in sorted(found)}


@functools.cache
def _read(path: Path, _modified: int, _size: int) -> PinnedList:
    versions: dict[str, set[str]] = {}
    needed_by: dict[str, set[str]] = {}
    explained = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        pin, _, comment = line.partition("#")
        if pin.strip():
            match = _PIN.fullmatch(pin.strip())
            if match is None:
                msg = f"line {number} of {path} is {pin.strip()!r}, but has to be name==version: run sandboxes/pin.sh"
                raise PinError(msg)
            explained = _normal(match["name"])
            needed_by.setdefault(explained, set())
            versions.setdefault(explained, set()).add(match["version"])
        if explained:
            # one name per line below the pin, or all of them behind it; "-r analysis.in" stands for the user
            for name in re.sub(r"^\s*via\b", "", comment).split(","):
                if name.strip():
                    needed_by[explained].add("" if name.strip().startswith("-") else _normal(name.strip()))
    needs = {
        name: tuple(sorted(n for n, others in needed_by.items() if n != name and (name in others or not others)))
        for name in versions
    }
    return PinnedList(path, {name: " ".join(sorted(found)) for name, found in versions.items()}, needs)


def _distribution(package: str, pinned: Mapping[str, str]) -> str:
    name = _normal(package)
    return name if name in pinned else _DISTRIBUTIONS.get(name, name)


def _normal(name: str) -> str:
    """Canonical name of a distribution (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
