"""What ``analysis ls``, ``cp`` and ``rm`` have in common: how they name things, and how they fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.storage.transfer import Place


class FilesError(AnalysisError):
    """Something cannot be done with a file or folder."""


class StorageOutageError(FilesError):
    """A server does not answer."""


def find_place(text: str, on_disk: bool = False) -> Place:
    """What a word of the command line names.

    Args:
        text: ``NAME:/PATH``, or a path on this machine.
        on_disk: whether paths that are in no store are accepted.

    Raises:
        AnalysisError: if it is no address, or not safe, or there is no such store.
    """
    from analysis.engine.storage import stores, transfer
    from analysis.engine.storage.addresses import NAME

    name, colon, _ = text.partition(":")
    if not text:
        msg = "an empty word names nothing: write NAME:/PATH with the name of a store, or a path on this machine"
        raise FilesError(msg)
    if on_disk and not (colon and NAME.fullmatch(name)):
        return transfer.on_disk(Path(text))
    return transfer.place(*stores.find(text))


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turn failures of files and servers into errors that say what failed, where, and what to do.

    Raises:
        StorageOutageError: if a server does not answer.
        FilesError: for any other failure.
    """
    from analysis.engine.storage.base import OutageError, RemoteError

    try:
        yield
    except BrokenPipeError:
        raise
    except OutageError as error:
        raise StorageOutageError(str(error)) from error
    except RemoteError as error:
        raise FilesError(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        msg = f"{where}{(error.strerror or str(error)).lower()}"
        raise FilesError(msg) from error


def is_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(question: str) -> bool:
    """Ask on the terminal.

    Args:
        question: without its mark.
    """
    print(f"{question}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def count(files: int, size: int) -> str:
    """A number of files with their size [bytes]."""
    from analysis.engine.plan import show_size

    return f"{files} file{'s' if files != 1 else ''}, {show_size(size)}"
