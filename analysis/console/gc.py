"""``analysis gc``: show and remove what no current task owns in the stores."""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.garbage import Findings
    from analysis.engine.residue import Residue
    from analysis.engine.storage.base import Store

HELP = "show, and with --delete remove, what no current task owns in the stores"
ALL = "all"
_SHOWN = 5


class GarbageError(AnalysisError):
    """The store is not one that files are removed from."""


class Look(NamedTuple):
    """What was found in one store."""

    store: Store
    findings: Findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--delete", action="store_true", help="remove it; without, nothing is changed")
    parser.add_argument("--stale", action="store_true", help="also outputs that were made by another recipe")
    parser.add_argument("--history", action="store_true", help="also manifests that were replaced")
    parser.add_argument(
        "--moved", action="store_true", help="also outputs of tasks that write to another store now, by [outputs]"
    )
    parser.add_argument("--version", metavar="V", help="look at this version only; default: all of them")
    parser.add_argument(
        "--store", metavar="NAME", default=ALL, help="a store of law.cfg, or local; default: all that [outputs] names"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")


def run(arguments: argparse.Namespace) -> int:
    """Look, show, and remove if asked to.

    Args:
        arguments: ``delete``, ``stale``, ``history``, ``moved``, ``version``, ``store`` and ``yes``.

    Returns:
        Exit code: 1 if a store is out of reach, if something could not be removed, or was not as nobody agreed.

    Raises:
        AnalysisError: if the only store, or the tasks, are not what they have to be.
    """
    from analysis.console.tasks import load_tasks

    stores = chosen_stores(arguments.store)
    load_tasks()
    used = _used_bundles()
    looks, failures = _look(stores, arguments, used)
    for failure in failures:
        if len(stores) == 1:
            raise failure
        print(failure, file=sys.stderr)
    residue = _residue(used) if (arguments.store, arguments.version) == (ALL, None) else []
    shown = [_report(look) for look in looks]
    if residue:
        shown.append(_table("on this machine", [(str(item.path), item.why, item.files, item.size) for item in residue]))
    if shown:
        print("\n\n".join(shown))
    number = sum(len(look.findings.garbage) + len(look.findings.mirror) for look in looks)
    number += sum(item.files for item in residue)
    code = 1 if failures else 0
    if not number and not residue:
        return code
    if not arguments.delete:
        print("\nNothing was removed. Use --delete to remove it.")
        return code
    if not (arguments.yes or _agreed(number)):
        print("Nothing was removed.", file=sys.stderr)
        return 1
    return max(code, _remove(looks, residue))


# stores


def chosen_stores(name: str) -> list[Store]:
    """The stores to look at.

    Args:
        name: of one, or :data:`ALL` for all that ``[outputs]`` names.

    Raises:
        GarbageError: if the only one is no place to remove files from.
        ParameterError: if there is no such store.
    """
    from analysis.engine.storage import settings
    from analysis.engine.storage.stores import store_named

    if name != ALL:
        return [_checked(name)]
    names = list(dict.fromkeys(choice.section or "local" for choice in settings.choices()))
    root = os.environ.get("ANALYSIS_STORE", "")
    if len(names) > 1 and settings.choice_for("").kind != "local" and not Path(root or "/dev/null").is_dir():
        names.remove("local")  # no task needs it
    return [_checked(name) if name == "local" else store_named(name) for name in names]


def _checked(name: str) -> Store:
    """A store; if it is on this machine, it is there, and a place to remove files from."""
    from analysis.engine.storage.stores import store_named

    if name == "local":
        store_root(os.environ.get("ANALYSIS_STORE"))
    store = store_named(name)
    if isinstance(store.root, Path):
        store_root(str(store.root), f"'base' of section {name}" if name != "local" else "ANALYSIS_STORE")
    return store


def store_root(variable: str | None, setting: str = "ANALYSIS_STORE") -> Path:
    """The root of a store on this machine, resolved.

    Args:
        variable: value of ``$ANALYSIS_STORE``, or of an option.
        setting: its name.

    Raises:
        GarbageError: if it is not set, does not exist, or contains the home directory.
    """
    if not variable:
        msg = f"{setting} is not set: source setup.sh first"
        raise GarbageError(msg)
    store = Path(variable).resolve()
    if not store.is_dir():
        msg = f"the store {variable} does not exist: set {setting} to a directory"
        raise GarbageError(msg)
    home = Path.home().resolve()
    if store in (Path(store.anchor), home, *home.parents):
        msg = f"the store {variable} is no place to remove files from: set {setting} to a directory of its own"
        raise GarbageError(msg)
    return store


def _look(
    stores: Sequence[Store], arguments: argparse.Namespace, used: set[str] | None
) -> tuple[list[Look], list[GarbageError]]:
    """What is in the stores, and why some could not be looked at."""
    from analysis.engine.garbage import find_garbage

    looks, failures, versions, asked = [], [], set[str](), 0
    for store in stores:
        try:
            if isinstance(store.root, Path):
                store_root(str(store.root), "its place")
            if arguments.version is not None:
                there = {entry.name for entry in store.entries(store.root) if entry.is_folder}
                asked, versions = asked + 1, versions | there
                if arguments.version not in there or not arguments.version.strip("."):
                    continue
            options = (arguments.stale, arguments.history, arguments.version, arguments.moved, used)
            found = find_garbage(store, *options)
            looks.append(Look(store, found))
        except GarbageError as error:
            failures.append(error)
        except OSError as error:
            failures.append(_unreadable(store, error))
    if arguments.version is not None and not looks and asked:
        where = "the store" if len(stores) == 1 else "any store"
        known = ", ".join(sorted(versions)) or "none"
        msg = f"--version {arguments.version!r} is not in {where}: there are {known}"
        failures.append(GarbageError(msg))
    return looks, failures


def _unreadable(store: Store, error: OSError) -> GarbageError:
    from analysis.engine.storage.base import RemoteError

    if isinstance(error, RemoteError):
        return GarbageError(f"store {store.name} was not looked at: {error}; nothing was removed there")
    return GarbageError(f"{error.filename} cannot be read ({error.strerror}): nothing was removed")


def _used_bundles() -> set[str] | None:
    """Names of the bundles that jobs may still use; ``None`` if that is not known."""
    from analysis.console.jobs import open_ledger
    from analysis.engine.backends.bundle import used_bundles

    with open_ledger() as ledger:
        return used_bundles({job.folder for job in ledger.active_jobs().values()} if ledger else ())


def _residue(used: set[str] | None) -> list[Residue]:
    """What is left on this machine outside of all stores."""
    from analysis.engine.backends.settings import jobs_folder
    from analysis.engine.residue import old_bundles, staged_directories

    return [*staged_directories(), *([] if used is None else old_bundles(jobs_folder() / "bundles", used))]


# what is shown


def _report(look: Look) -> str:
    from analysis.engine.plan import show_size

    root, findings = shown_root(look.store), look.findings
    mirror = getattr(look.store, "mirror", None)
    rows = [(item.folder, item) for item in findings.garbage]
    rows += [(f"{mirror.root}/{item.folder}", item) for item in findings.mirror if mirror]
    files, sizes = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for folder, item in rows:
        files[folder, item.why] += 1
        sizes[folder, item.why] += item.file.size
    parts = [f"No garbage in {root}."]
    if files:
        table = _table("folder", [(folder, why, files[folder, why], sizes[folder, why]) for folder, why in files])
        parts = [table, f"{files.total()} files, {show_size(sizes.total())} in {root}"]
    if findings.kept:
        parts.append("Left alone:\n" + "\n".join(f"  {folder}: {why}" for folder, why in findings.kept))
    if findings.foreign:
        shown = [f"  {path}" for path in findings.foreign[:_SHOWN]]
        more = len(findings.foreign) - _SHOWN
        shown += [f"  and {more} more"] if more > 0 else []
        parts.append("Not written by a task, and never removed:\n" + "\n".join(shown))
    return "\n\n".join(parts)


def shown_root(store: Store) -> str:
    """The root of a store as people read it."""
    return str(store.root.resolve() if isinstance(store.root, Path) else store.root)


def _table(first: str, rows: Sequence[tuple[str, str, int, int]]) -> str:
    from tabulate import tabulate

    from analysis.engine.plan import show_size

    lines = [[where, why, files, show_size(size)] for where, why, files, size in rows]
    header = [first, "why", "files", "size"]
    return str(tabulate(lines, header, disable_numparse=True, colalign=("left", "left", "right", "right")))


def _agreed(number: int) -> bool:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        msg = "there is no terminal to ask on: use --delete --yes to remove it"
        raise GarbageError(msg)
    print(f"Remove {number} files? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _remove(looks: Sequence[Look], residue: Sequence[Residue]) -> int:
    """Remove all of it, say what is left, and return the exit code."""
    from analysis.engine.plan import show_size
    from analysis.engine.removal import remove_garbage
    from analysis.engine.residue import remove

    files = size = 0
    left: list[tuple[str, str]] = []
    for store, findings in looks:
        mirror = getattr(store, "mirror", None)
        removed = [remove_garbage(store, findings.garbage)]
        removed += [remove_garbage(mirror, findings.mirror)] if mirror else []
        files, size = files + sum(one.files for one in removed), size + sum(one.size for one in removed)
        left += [pair for one in removed for pair in one.left]
    for item in residue:
        if (why := remove(item)) is None:
            files, size = files + item.files, size + item.size
        else:
            left.append((str(item.path), why))
    print(f"\n{files} files removed, {show_size(size)}.")
    for path, why in left[:_SHOWN]:
        print(f"{path} is still there: {why}", file=sys.stderr)
    if len(left) > _SHOWN:
        print(f"and {len(left) - _SHOWN} more", file=sys.stderr)
    return 1 if left else 0
