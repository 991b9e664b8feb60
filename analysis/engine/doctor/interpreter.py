"""Python, and the packages of its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from analysis.engine.doctor.batch import is_job
from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red, yellow
from analysis.engine.sandboxes.pinned import list_hash

OLDEST, NEWEST = (3, 11), (3, 13)
"""Versions that the project runs on."""

_REPOSITORY = Path(__file__).resolve().parents[3]
_SHOWN = 3


class Differences(NamedTuple):
    """How an environment differs from a pinned list.

    Args:
        pinned: number of packages that this Python should have.
        missing: names of those that it has not.
        others: names of those of another version, with both.
    """

    pinned: int
    missing: tuple[str, ...]
    others: tuple[str, ...]


def checks() -> Sequence[Check]:
    """Interpreter and packages."""
    return [
        Check("python", version),
        Check("environment", environment, limit=60),
        Check("environments", environments),
    ]


def version() -> Iterator[Finding]:
    """Whether the project runs on this Python."""
    here, name = sys.version_info[:2], f"{sys.version.split()[0]} ({sys.executable})"
    if OLDEST <= here <= NEWEST and sys.implementation.name == "cpython":
        yield green("python", name)
        return
    wanted = f"CPython {'.'.join(map(str, OLDEST))} to {'.'.join(map(str, NEWEST))}"
    yield red("python", f"{sys.implementation.name} {name}", f"set ANALYSIS_PYTHON to a {wanted} and source setup.sh")


def environment() -> Iterator[Finding]:
    """Whether the packages are those of the list that the environment was made of; recipes name their versions."""
    path = _list_of(Path(sys.prefix).resolve())  # in an image it is a link
    found = differences(path)
    count, where = f"{found.pinned} packages of {_shown_path(path)}", f"in {sys.prefix}"
    renew = f"remove {sys.prefix} if setup.sh made it, and source setup.sh in a new shell"
    if found.missing:
        yield red("environment", f"{len(found.missing)} of {count} are missing {where} ({_some(found.missing)})", renew)
    elif found.others:
        words = f"{len(found.others)} of {count} have other versions {where} ({_some(found.others)})"
        yield yellow("environment", words, f"results would claim the pinned versions: {renew}")
    else:
        yield green("environment", f"all {count}, {where}")


def differences(path: Path) -> Differences:
    """Compare the packages of this process with a pinned list.

    Args:
        path: the list.

    Raises:
        PinError: if it cannot be read, or a line of it is no pin.
    """
    from packaging.requirements import Requirement

    from analysis.engine.pins import read_pins

    read_pins(path)  # says what is wrong with the list, if anything is
    missing, others, pinned = [], [], 0
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if not text or not ((pin := Requirement(text)).marker is None or pin.marker.evaluate()):
            continue
        pinned += 1
        try:
            here = metadata.version(pin.name)
        except metadata.PackageNotFoundError:
            missing.append(pin.name)
        else:
            if not pin.specifier.contains(here, prereleases=True):
                others.append(f"{pin.name} {here} instead of {str(pin.specifier).lstrip('=')}")
    return Differences(pinned, tuple(missing), tuple(others))


def environments() -> Iterator[Finding]:
    """Which of the pinned lists have an environment; one that has none gets it when it is needed."""
    if is_job():
        yield grey("environments", "none is built in a batch job")
        return
    folder = Path(os.environ.get("ANALYSIS_ENV_DIR") or _REPOSITORY / ".venv").absolute()
    for path in sorted((_REPOSITORY / "sandboxes").glob("*.txt")):
        name, key = f"environment {path.stem}", list_hash(path)
        places = sorted(place for place in folder.glob(f"{key}-py3.*") if place.is_dir())
        whole = [place for place in places if _is_complete(place)]
        if whole:
            yield green(name, f"{', '.join(str(place) for place in whole)}")
        elif places:
            found = f"{places[0]} is not complete, or was moved there"
            yield yellow(name, found, f"if no other shell is building it, remove {places[0]}: it is built again")
        else:
            yield grey(name, "not built yet")


def _list_of(prefix: Path) -> Path:
    """The list that an environment was made of; of one that ``setup.sh`` did not make, that of all tasks."""
    lists = sorted((_REPOSITORY / "sandboxes").glob("*.txt"))
    named = [path for path in lists if prefix.name.startswith(f"{list_hash(path)}-py")]
    return named[0] if named else _REPOSITORY / "sandboxes" / "analysis.txt"


def _is_complete(place: Path) -> bool:
    """Whether it was built to its end, in this very place."""
    try:
        location = (place / ".complete").read_text().splitlines()[0]
        return Path(location).samefile(place) and (place / "bin" / "python").exists()
    except (OSError, IndexError):
        return False


def _shown_path(path: Path) -> str:
    return str(path.relative_to(_REPOSITORY))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
