"""Client libraries for remote storage, behind one protocol: :class:`analysis.engine.storage.base.Interface`.

URLs of ``https``, ``http``, ``davs`` and ``dav`` are quoted; in those of all other schemes names are as they are.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from analysis.engine.storage.interfaces.common import HTTP, TIMEOUT
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.storage.base import Interface

CHOICES = ("xrootd", "fsspec", "gfal2")
"""Names of the libraries, the first that can be used is taken."""


class InterfaceError(AnalysisError):
    """No client library can speak to a server."""


def interface_for(url_scheme: str, choice: str = "auto", timeout: int = TIMEOUT) -> Interface:
    """The client library for URLs of a scheme; one object for each choice and process.

    Args:
        url_scheme: such as ``root``.
        choice: ``xrootd``, ``gfal2`` or ``fsspec``; ``auto``: the first of them that can be used.
        timeout: of a request [s].

    Raises:
        InterfaceError: if it cannot be used here; it says why, and what to install.
    """
    if choice not in ("auto", *CHOICES):
        msg = f"there is no interface {choice!r}: choose one of auto, {', '.join(CHOICES)}"
        raise InterfaceError(msg)
    problems = []
    for name in CHOICES if choice == "auto" else (choice,):
        kind = _kind(name)
        if url_scheme not in kind.schemes:
            continue
        problem = kind.problem_for(url_scheme)
        if problem is None:
            return _made(name, timeout)
        problems.append(f"{name}: {problem}")
    if problems:
        msg = f"no client library for {url_scheme}:// can be used here ({'; '.join(problems)})"
    else:
        of = "no interface" if choice == "auto" else f"interface {choice!r} does not"
        msg = f"{of} speaks {url_scheme}://" if choice == "auto" else f"{of} speak {url_scheme}://"
    raise InterfaceError(msg)


@functools.cache
def _made(name: str, timeout: int) -> Interface:
    return _kind(name)(timeout)


def _kind(name: str) -> type[XrootdInterface | GfalInterface | FsspecInterface]:
    kinds: dict[str, type[XrootdInterface | GfalInterface | FsspecInterface]]
    kinds = {"xrootd": XrootdInterface, "gfal2": GfalInterface, "fsspec": FsspecInterface}
    return kinds[name]


# these modules import no client library until one of their objects is asked
from analysis.engine.storage.interfaces.fs import FsspecInterface  # noqa: E402
from analysis.engine.storage.interfaces.gfal import GfalInterface  # noqa: E402
from analysis.engine.storage.interfaces.xrootd import XrootdInterface  # noqa: E402

__all__ = ["CHOICES", "HTTP", "FsspecInterface", "GfalInterface", "InterfaceError", "XrootdInterface", "interface_for"]
