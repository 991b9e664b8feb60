"""``analysis cp``: copy files between stores and the local disk, verified and atomic."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from analysis.console.files import FilesError, count, find_place, one_sentence

if TYPE_CHECKING:
    from analysis.engine.storage.transfer import Place

HELP = "copy a file, or with -r a folder, between stores and the local disk; checksums are compared"

_AT_ONCE = 4
"""Files that are copied at the same time."""


class Job(NamedTuple):
    """A file to copy.

    Args:
        source: from where.
        destination: to where.
        size: [bytes].
        is_record: whether it is a manifest, which is copied after what it names.
    """

    source: Place
    destination: Place
    size: int
    is_record: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("source", metavar="SOURCE", help="NAME:/PATH in the store NAME, or a path on this machine")
    parser.add_argument("destination", metavar="DESTINATION", help="the same; in a folder that is there, of that name")
    parser.add_argument("-r", "--recursive", action="store_true", help="copy a folder with all in it")
    parser.add_argument("-f", "--force", action="store_true", help="replace files that are there")


def run(arguments: argparse.Namespace) -> int:
    """Copy.

    Args:
        arguments: ``source``, ``destination``, ``recursive`` and ``force``.

    Returns:
        Exit code: 1 if something could not be copied.

    Raises:
        AnalysisError: if nothing can be copied.
    """
    with one_sentence():
        source = find_place(arguments.source, on_disk=True)
        destination = find_place(arguments.destination, on_disk=True)
        jobs = _jobs(source, destination, arguments)
        if not arguments.force:
            _refuse_to_replace(jobs)
        with _progress(jobs) as advance:
            copied = _copy(jobs, advance)
    print(f"{count(len(copied), sum(job.size for job in copied))} copied to {destination}")
    return 0 if len(copied) == len(jobs) else 1


def _jobs(source: Place, destination: Place, arguments: argparse.Namespace) -> list[Job]:
    from analysis.engine.storage.transfer import entry
    from analysis.engine.storage.trees import is_record, tree

    there, found = entry(source), entry(destination)
    if there is None:
        msg = f"{source}: there is no such file or folder"
        raise FilesError(msg)
    if there.is_folder and not arguments.recursive:
        msg = f"{source} is a folder: add -r to copy it with all in it"
        raise FilesError(msg)
    into = found is not None and found.is_folder
    if not into and not there.is_folder and arguments.destination.endswith("/"):
        into = True
    if into and source.address != source.store.root:
        destination = destination / source.address.name
    if _same(source, destination):
        msg = f"{source} and {destination} are the same, or one is in the other: name another destination"
        raise FilesError(msg)
    if not there.is_folder:
        return [Job(source, destination, there.size, False)]
    if found is not None and not found.is_folder:
        msg = f"{destination} is a file, and {source} a folder: name another destination"
        raise FilesError(msg)
    items = [item for item in tree(source) if not item.entry.is_folder]
    jobs = [Job(i.place, _below(destination, i.parts), i.entry.size, is_record(i.place.address)) for i in items]
    return sorted(jobs, key=lambda job: job.is_record)


def _below(where: Place, parts: Sequence[str]) -> Place:
    from analysis.engine.storage.transfer import place

    return place(where.store, where.address.joinpath(*parts))


def _same(source: Place, destination: Place) -> bool:
    first, second = (str(where.address) for where in (source, destination))
    return first == second or second.startswith(f"{first}/")


def _refuse_to_replace(jobs: Sequence[Job]) -> None:
    from analysis.engine.concurrent import concurrently

    folders = list(dict.fromkeys((job.destination.store, job.destination.address.parent) for job in jobs))
    listings = concurrently(lambda folder: set(folder[0].names(folder[1])), folders, _AT_ONCE)
    names = dict(zip(folders, listings, strict=True))
    there = [
        job.destination
        for job in jobs
        if job.destination.address.name in names[job.destination.store, job.destination.address.parent]
    ]
    if there:
        more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        msg = f"{there[0]}{more} there already: add --force to replace, or name another destination"
        raise FilesError(msg)


def _copy(jobs: Sequence[Job], advance: Callable[[int], None]) -> list[Job]:
    """Copy all; what fails is said, and after a file that failed no manifest is copied.

    Raises:
        OutageError: if a server does not answer; the rest is not tried then.
    """
    from analysis.engine.concurrent import concurrently
    from analysis.engine.storage import transfer
    from analysis.engine.storage.base import OutageError, RemoteError

    def attempt(job: Job) -> OSError | None:
        try:
            transfer.copy(job.source, job.destination)
        except OutageError:
            raise
        except OSError as error:
            return error
        advance(job.size)
        return None

    copied: list[Job] = []
    for records in (False, True):
        group = [job for job in jobs if job.is_record == records]
        if len(copied) < len(jobs) - len(group) and records and group:
            print(f"{len(group)} manifests were not copied, as they name files that were not", file=sys.stderr)
            break
        for job, error in zip(group, concurrently(attempt, group, _AT_ONCE), strict=True):
            if error is None:
                copied.append(job)
                continue
            reason = str(error) if isinstance(error, RemoteError) else (error.strerror or str(error)).lower()
            print(f"{job.source} was not copied: {reason}", file=sys.stderr)
    return copied


@contextmanager
def _progress(jobs: Sequence[Job]) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal, if there is one; called with the size of each file that is done [bytes]."""
    if not sys.stderr.isatty():
        yield lambda _size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(f"{len(jobs)} files", total=sum(job.size for job in jobs))
        yield lambda size: bars.advance(bar, size)
