"""``analysis ls``: what is in a store, or in the folder of a task; without an address, which stores there are."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from analysis.console.files import FilesError, find_place, one_sentence
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.storage.base import Store
    from analysis.engine.storage.endpoints import Endpoint
    from analysis.engine.storage.transfer import Place
    from analysis.engine.storage.trees import Found

HELP = "list a folder of a store, or of a task; without an address, the stores, and whether they answer"

_AT_ONCE = 16
"""Servers that are asked at the same time."""


class Row(NamedTuple):
    """A store at one of its endpoints.

    Args:
        store: name.
        kind: ``local``, ``wlcg`` or ``wlcg_mirrored``.
        endpoint: URL or path of its root.
        qos: label of the quality of service.
        answer: what became of a question: a time, or a reason.
        is_there: whether it was answered.
    """

    store: str
    kind: str
    endpoint: str
    qos: str
    answer: str
    is_there: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.usage = "analysis ls [-h] [-l] [-R] [-a] [ADDRESS | TASK [--parameters as in law run]]"
    parser.add_argument(
        "task", metavar="ADDRESS", nargs="?", help="NAME:/PATH in the store NAME, a path on this machine, or a task"
    )
    parser.add_argument("-l", "--long", action="store_true", help="with sizes and times (UTC)")
    parser.add_argument("-R", "--recursive", action="store_true", help="with all that is in its folders")
    parser.add_argument("-a", "--all", action="store_true", help="also locks, and uploads that are under way")


def run(arguments: argparse.Namespace) -> int:
    """List a folder, or the stores.

    Args:
        arguments: ``task`` (the address), ``parameters``, ``long``, ``recursive`` and ``all``.

    Returns:
        Exit code: 1 if a store does not answer.

    Raises:
        AnalysisError: if there is no such thing, or it cannot be listed.
    """
    if arguments.task is None:
        if arguments.parameters:
            arguments.usage_error(f"unrecognized arguments: {' '.join(arguments.parameters)}")
        rows = _stores()
        print(_table_of_stores(rows))
        return 0 if all(row.is_there for row in rows) else 1
    with one_sentence():
        places = _places(arguments)
        missing = 0
        found: list[Found] = []
        for where in places:
            items = _listed(where, arguments.recursive, arguments.all)
            if items is None and len(places) == 1:
                msg = f"{where}: there is no such file or folder"
                raise FilesError(msg)
            missing += items is None
            found += items or []
        print("\n".join(_lines(found, arguments.long)), end="\n" if found else "")
    if missing:
        print(f"{missing} of {len(places)} outputs are not there", file=sys.stderr)
    return 1 if missing else 0


def _places(arguments: argparse.Namespace) -> list[Place]:
    """What the words name: one folder or file, or the outputs of a branch."""
    text: str = arguments.task
    if re.fullmatch(r"[A-Za-z_][\w.]*", text) is None or Path(text).exists():
        if arguments.parameters:
            arguments.usage_error(f"unrecognized arguments: {' '.join(arguments.parameters)}")
        return [find_place(text, on_disk=True)]
    from analysis.console.tasks import asked_task, load_tasks
    from analysis.engine.storage.transfer import Place

    load_tasks()
    with asked_task(text, arguments.parameters) as task:
        if task.branch_number is None:
            return [Place(task.store, task.folder)]
        return [Place(task.store, path) for path in task.output_paths()]


def _listed(where: Place, recursive: bool, everything: bool) -> list[Found] | None:
    """A file, or what is in a folder; ``None`` if there is nothing."""
    from analysis.engine.storage.transfer import Place, entry
    from analysis.engine.storage.trees import Found, is_transient, tree

    there = entry(where)
    if there is None:
        return None
    if not there.is_folder:
        return [Found(where, (where.address.name,), there)]
    if recursive:
        return sorted(tree(where, everything), key=lambda found: found.parts)
    entries = sorted(where.store.entries(where.address))
    return [
        Found(Place(where.store, where.address / e.name), (e.name,), e)
        for e in entries
        if everything or not is_transient(where.address / e.name)
    ]


def _lines(found: Iterable[Found], long: bool) -> list[str]:
    from tabulate import tabulate

    from analysis.engine.plan import show_size

    names = [f"{'/'.join(item.parts)}{'/' if item.entry.is_folder else ''}" for item in found]
    if not long or not names:
        return [_visible(name) for name in names]
    sizes = ["" if item.entry.is_folder else show_size(item.entry.size) for item in found]
    times = [_when(item.entry.mtime) for item in found]
    rows = zip(sizes, times, map(_visible, names), strict=True)
    return str(tabulate(rows, tablefmt="plain", disable_numparse=True, colalign=("right", "left", "left"))).splitlines()


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S") if seconds else "-"


def _visible(name: str) -> str:
    """A name that does nothing to a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


# stores


def _stores() -> list[Row]:
    from analysis.engine.concurrent import concurrently

    questions = [(store, endpoint) for store in known_stores() for endpoint in _endpoints(store)]
    return concurrently(_row, questions, _AT_ONCE)


def known_stores() -> list[Store]:
    """All stores of the configuration.

    Raises:
        AnalysisError: if the configuration makes no sense.
    """
    import law

    from analysis.engine.errors import ParameterError
    from analysis.engine.storage import settings, stores

    named = [choice.section or "local" for choice in settings.choices()]
    sections = [name for name in law.config.sections() if settings.is_store(name) and name not in settings.RESERVED]
    found = []
    for name in sorted(dict.fromkeys([*named, *sections]), key=lambda name: (name != "local", name)):
        try:
            found.append(stores.store_named(name))
        except ParameterError:
            if name != "local":  # which need not be set where nothing is written to it
                raise
    return found


def _endpoints(store: Store) -> list[Endpoint | None]:
    remote = getattr(store, "remote", store)
    return list(remote.endpoints.all) if hasattr(remote, "endpoints") else [None]


def _row(question: tuple[Store, Endpoint | None]) -> Row:
    from analysis.engine.storage.base import NotFoundError, RemoteError

    store, endpoint = question
    began = time.monotonic()
    where, is_there, answer = str(store.root) if endpoint is None else endpoint.base, True, ""
    try:
        if endpoint is None:
            Path(store.root).stat()
        else:
            endpoint.interface().stat(endpoint.url(()))
    except (NotFoundError, FileNotFoundError):
        answer = ", root not made yet"
    except (OSError, AnalysisError) as error:
        is_there = False
        answer = (
            error.reason if isinstance(error, RemoteError) else (getattr(error, "strerror", None) or str(error)).lower()
        )
    told = f"{1000 * (time.monotonic() - began):.3g} ms{answer}" if is_there else f"no answer: {answer}"
    return Row(store.name, store.kind, where, store.qos, told, is_there)


def _table_of_stores(rows: Iterable[Row]) -> str:
    from tabulate import tabulate

    header = ["store", "kind", "endpoint", "qos", "answer"]
    return str(tabulate([row[:-1] for row in rows], header, disable_numparse=True))
