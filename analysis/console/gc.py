"""``analysis gc``: show and remove what no current task owns in the store."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.garbage import Findings, Garbage

HELP = "show, and with --delete remove, what no current task owns in the store"
_SHOWN = 5


class GarbageError(AnalysisError):
    """The store is not one that files are removed from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--delete", action="store_true", help="remove it; without, nothing is changed")
    parser.add_argument("--stale", action="store_true", help="also outputs that were made by another recipe")
    parser.add_argument("--history", action="store_true", help="also manifests that were replaced")
    parser.add_argument("--version", metavar="V", help="look at this version only; default: all of them")
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")


def run(arguments: argparse.Namespace) -> int:
    """Look, show, and remove if asked to.

    Args:
        arguments: ``delete``, ``stale``, ``history``, ``version`` and ``yes``.

    Returns:
        Exit code: 1 if something could not be removed, or was not as nobody agreed.

    Raises:
        AnalysisError: if the store or the tasks are not what they have to be.
    """
    store = store_root(os.environ.get("ANALYSIS_STORE"))
    check_version(arguments.version, store)
    from analysis.console.tasks import load_tasks

    load_tasks()
    from analysis.engine.garbage import find_garbage

    try:
        findings = find_garbage(store, arguments.stale, arguments.history, arguments.version)
    except OSError as error:
        msg = f"{error.filename} cannot be read ({error.strerror}): nothing was removed"
        raise GarbageError(msg) from error
    print(_report(store, findings))
    if not findings.garbage:
        return 0
    if not arguments.delete:
        print("\nNothing was removed. Use --delete to remove it.")
        return 0
    if not (arguments.yes or _agreed(findings.garbage)):
        print("Nothing was removed.", file=sys.stderr)
        return 1
    return _remove(store, findings.garbage)


def store_root(variable: str | None) -> Path:
    """The store, resolved.

    Args:
        variable: value of ``$ANALYSIS_STORE``.

    Raises:
        GarbageError: if it is not set, does not exist, or contains the home directory.
    """
    if not variable:
        msg = "ANALYSIS_STORE is not set: source setup.sh first"
        raise GarbageError(msg)
    store = Path(variable).resolve()
    if not store.is_dir():
        msg = f"the store {variable} does not exist: set ANALYSIS_STORE to a directory"
        raise GarbageError(msg)
    home = Path.home().resolve()
    if store in (Path(store.anchor), home, *home.parents):
        msg = f"the store {variable} is no place to remove files from: set ANALYSIS_STORE to a directory of its own"
        raise GarbageError(msg)
    return store


def check_version(version: str | None, store: Path) -> None:
    """Check that a version is a folder of the store.

    Raises:
        GarbageError: if it is not.
    """
    if version is None:
        return
    if Path(version).name != version or not version.strip(".") or not (store / version).is_dir():
        there = ", ".join(sorted(path.name for path in store.iterdir() if path.is_dir())) or "none"
        msg = f"--version {version!r} is not in the store: there are {there}"
        raise GarbageError(msg)


def _report(store: Path, findings: Findings) -> str:
    from tabulate import tabulate

    from analysis.engine.plan import show_size

    files, sizes = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for item in findings.garbage:
        key = (item.folder, item.why)
        files[key] += 1
        sizes[key] += item.file.size
    parts = [f"No garbage in {store}."]
    if files:
        rows = [[folder, why, files[folder, why], show_size(sizes[folder, why])] for folder, why in files]
        total = f"{files.total()} files, {show_size(sizes.total())} in {store}"
        header = ["folder", "why", "files", "size"]
        parts = [tabulate(rows, header, disable_numparse=True, colalign=("left", "left", "right", "right")), total]
    if findings.kept:
        parts.append("Left alone:\n" + "\n".join(f"  {folder}: {why}" for folder, why in findings.kept))
    if findings.foreign:
        shown = [f"  {path}" for path in findings.foreign[:_SHOWN]]
        more = len(findings.foreign) - _SHOWN
        shown += [f"  and {more} more"] if more > 0 else []
        parts.append("Not written by a task, and never removed:\n" + "\n".join(shown))
    return "\n\n".join(parts)


def _agreed(garbage: Sequence[Garbage]) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = "there is no terminal to ask on: use --delete --yes to remove it"
        raise GarbageError(msg)
    print(f"Remove {len(garbage)} files? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _remove(store: Path, garbage: Sequence[Garbage]) -> int:
    from analysis.engine.plan import show_size
    from analysis.engine.removal import remove_garbage

    removed = remove_garbage(store, garbage)
    print(f"\n{removed.files} files removed, {show_size(removed.size)}.")
    for path, why in removed.left[:_SHOWN]:
        print(f"{path} is still there: {why}", file=sys.stderr)
    if len(removed.left) > _SHOWN:
        print(f"and {len(removed.left) - _SHOWN} more", file=sys.stderr)
    return 1 if removed.left else 0
