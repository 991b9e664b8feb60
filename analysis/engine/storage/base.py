"""The words of storage: what a store is asked, how a server answers, and how it fails.

A *store* is a tree of files, on a local disk or on a server. An *address* is a path in it: a local path, or
``NAME:/v1/IndexFiles/...`` in the store NAME of the configuration. An *interface* is a client library that speaks to
servers; it knows URLs, and nothing of stores. An *endpoint* is the URL of the root of a store, which may have several.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from analysis.errors import AnalysisError


class Entry(NamedTuple):
    """A file or folder, as a listing or a question has it.

    Args:
        name: last part of its path.
        size: [bytes]; 0 for a folder.
        is_folder: whether it is one.
        mtime: when it was changed, by the clock of the server [s since 1970]; 0 if the server does not tell.
    """

    name: str
    size: int
    is_folder: bool
    mtime: float


class RemoteError(AnalysisError, OSError):
    """A request to a server failed; its ``errno`` says why. Not one of them means that something is absent.

    Args:
        operation: what was asked: ``stat``, ``list``, ``read``, ``write``, ``upload``, ``download``, ``rename``,
            ``remove``, ``make folder``, ``remove folder``, ``checksum``.
        url: of what.
        reason: what the server or the client library says, in few words and lower case, without a credential.
        code: the ``errno`` value; default: that of the class.
    """

    number: ClassVar[int] = errno.EIO
    advice: str = ""
    """What to do about it."""
    is_transient: ClassVar[bool] = False
    """Whether the same request may succeed later, without anybody doing anything about it."""

    def __init__(self, operation: str, url: str, reason: str, code: int = 0) -> None:
        self.operation, self.url, self.reason = operation, url, reason
        super().__init__(code or self.number, reason)

    def __str__(self) -> str:
        advice = self.advice or _ADVICE.get(self.errno or 0, "")
        return f"{self.operation} {self.url}: {self.reason}{f': {advice}' if advice else ''}"

    def __reduce__(self) -> tuple[object, ...]:  # errors cross the border of a process
        return type(self), (self.operation, self.url, self.reason, self.errno)


_IN_THE_WAY = "look at what is there with 'analysis ls', remove it or move it away, and run again"


class NotFoundError(RemoteError, FileNotFoundError):
    """The server is there, and says that the file or folder is not: the one error that means absence."""

    number = errno.ENOENT


class ExistsError(RemoteError, FileExistsError):
    """There is something of that name already."""

    number = errno.EEXIST
    advice = _IN_THE_WAY


class FolderError(RemoteError, IsADirectoryError):
    """There is a folder where a file is expected."""

    number = errno.EISDIR


class NotAFolderError(RemoteError, NotADirectoryError):
    """There is a file where a folder is expected."""

    number = errno.ENOTDIR
    advice = _IN_THE_WAY


class DeniedError(RemoteError, PermissionError):
    """The server does not allow it: permissions, or a credential that is missing, expired or not accepted."""

    number = errno.EACCES
    advice = "look at your credential with 'analysis credentials', and at the permissions of that path"


class OutageError(RemoteError):
    """The server does not answer, or not in a way that says anything of the file."""

    number = errno.EHOSTUNREACH
    advice = "nothing is known of what is there; run again when the server is back, all that is done is kept"
    is_transient = True


class TrustError(OutageError):
    """Nobody here can tell whether it is the right server."""

    number = errno.EKEYREJECTED
    advice = (
        "set X509_CERT_DIR to the directory with the certificates of authorities, or ask the site which authority it is"
    )
    is_transient = False


class DamageError(RemoteError):
    """What arrived is not what was sent."""

    number = errno.EBADMSG
    advice = "it was removed there; run again, and tell the site if it happens often"
    is_transient = True


_ADVICE = {
    errno.ENOSPC: "free some space there, or name another store in [outputs] of law.cfg",
    errno.EDQUOT: "free some of your quota there, or name another store in [outputs] of law.cfg",
    errno.EROFS: "it can only be read: name another store in [outputs] of law.cfg",
    errno.ENOTEMPTY: "remove what is in it first",
}

ERRORS: dict[int, type[RemoteError]] = {
    errno.ENOENT: NotFoundError,
    errno.EEXIST: ExistsError,
    errno.EISDIR: FolderError,
    errno.ENOTDIR: NotAFolderError,
    errno.EACCES: DeniedError,
    errno.EPERM: DeniedError,
    **dict.fromkeys(
        (
            *(errno.ETIMEDOUT, errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EHOSTUNREACH),
            *(errno.ENETUNREACH, errno.EHOSTDOWN, errno.EAGAIN, errno.EBUSY, errno.EPIPE, errno.ECOMM, errno.ENOTCONN),
        ),
        OutageError,
    ),
    errno.EKEYREJECTED: TrustError,
    errno.EBADMSG: DamageError,
}
"""The class of an error by its ``errno``; :class:`RemoteError` for the rest, which is not tried again."""


def error_of(code: int, operation: str, url: str, reason: str) -> RemoteError:
    """The error of an ``errno`` value.

    Examples:
        >>> str(error_of(errno.ENOSPC, "write", "root://host//store/a", "no space left on device"))
        'write root://host//store/a: no space left on device: free some space there, or name another store in [outputs] of law.cfg'
    """  # noqa: E501
    return ERRORS.get(code, RemoteError)(operation, url, reason or os.strerror(code).lower(), code)


class Interface(Protocol):
    """A client library.

    All of its methods take URLs, raise :class:`RemoteError`, end in a finite time, do not retry,
    may be called from several threads, and work in a process that is forked after the first call.

    One conformance test (``tests/engine/storage/conformance.py``) is for all of them.
    """

    name: ClassVar[str]
    """As in the configuration."""
    schemes: ClassVar[frozenset[str]]
    """Of the URLs it can speak to, e.g. ``root``."""

    @classmethod
    def problem(cls) -> str | None:
        """Why it cannot be used in this environment; ``None`` if it can."""

    def stat(self, url: str) -> Entry:
        """What is there.

        Raises:
            NotFoundError: if the server says that nothing is.
        """

    def list(self, url: str) -> list[Entry]:
        """All that is in a folder, by one request (sizes included), whole or not at all.

        Raises:
            NotFoundError: if there is no such folder.
            NotAFolderError: if it is a file.
        """

    def read(self, url: str) -> bytes:
        """Content of a file."""

    def write(self, url: str, content: bytes) -> None:
        """Write a small file of that very name (not atomic; replaces one).

        Raises:
            NotFoundError: if its folder is not there, and the server does not make it by itself.
        """

    def upload(self, source: Path, url: str) -> None:
        """Copy a local file to that very name (not atomic; replaces one)."""

    def download(self, url: str, destination: Path) -> str:
        """Copy a file to a local path (not atomic; replaces one).

        Returns:
            Adler-32 of what arrived, eight hexadecimal digits.
        """

    def rename(self, url: str, destination: str) -> None:
        """Give a file or folder another name on the same server, at once; replaces a file of that name.

        Raises:
            ExistsError: for a folder, if there is one of that name with something in it: of many that try at the same
                moment one succeeds.
        """

    def remove(self, url: str, look: bool = True) -> None:
        """Remove a file.

        Args:
            url: of the file.
            look: whether it is looked first that it is no folder, which some servers would remove; only a name that
                nobody gives to a folder, such as a random one of ours, does without.

        Raises:
            NotFoundError: if it is not there.
            FolderError: if it is a folder.
        """

    def make_folder(self, url: str) -> None:
        """Make one folder. Of those that try at the same moment several may succeed, for XRootD tells them so.

        Raises:
            ExistsError: if there is something of that name.
            NotFoundError: if the folder it is to be in is not there, and the server does not make it by itself.
        """

    def remove_folder(self, url: str) -> None:
        """Remove an empty folder; that it was not there is not said by all servers.

        Raises:
            RemoteError: with ``errno.ENOTEMPTY`` if it is not empty; nothing is removed then.
            NotAFolderError: if it is a file.
        """

    def checksum(self, url: str, size: int | None = None) -> str | None:
        """Adler-32 of a file as the server computes it, eight hexadecimal digits; ``None`` if it cannot.

        Args:
            url: of the file.
            size: what it is to have [bytes], if that is known: then a library need not ask for how long to wait.
        """


class Lock(Protocol):
    """A lock of one branch; see :mod:`analysis.engine.lock`."""

    def acquire(self, look: bool = True) -> bool:
        """Take it if it is free, or if its holder is gone; without ``look``, only if it is free. Never waits."""

    def wait(self, poll: float = 0.02) -> None:
        """Wait until it is taken."""

    def release(self) -> None:
        """Give it back."""

    def is_fresh(self) -> bool:
        """Whether it is held, and so short a while after a sign of life that nobody takes it for stale; asks nobody."""

    def still_ours(self) -> bool:
        """Whether nobody took it for stale."""

    def holder(self) -> object | None:
        """Who holds it."""


@runtime_checkable
class Store(Protocol):
    """A tree of files with one root. Paths are addresses below :attr:`root`.

    All questions are answered from what the server says now. An outage raises, it never looks like absence.

    Raises:
        OSError: from all methods; :class:`RemoteError` where a server is asked.
    """

    name: str
    """As in the configuration: ``local``, or the name of its section."""
    kind: str
    """``local``, ``wlcg`` or ``wlcg_mirrored``."""
    qos: str
    """Label of the quality of service, e.g. ``FAST``; empty for none."""

    @property
    def root(self) -> PurePath:
        """Address of the root: a :class:`~pathlib.Path` if and only if the store is local."""

    def sizes(self, folder: PurePath) -> dict[str, int]:
        """Names and sizes [bytes] of the files of a folder, from one complete listing; empty if it does not exist."""

    def entries(self, folder: PurePath) -> list[Entry]:
        """All that is in a folder, folders as well; empty if it does not exist."""

    def names(self, folder: PurePath) -> list[str]:
        """Names of all that is in a folder; empty if it does not exist."""

    def read(self, path: PurePath) -> bytes:
        """Content of a file."""

    def write(self, path: PurePath, content: bytes) -> None:
        """Write a small file atomically, and make its folder if needed."""

    def staging(self, final: PurePath) -> Path:
        """Local path at which an output is written before :meth:`publish`; its folder is there."""

    def publish(self, staged: Path, final: PurePath, size: int, adler32: str) -> None:
        """Bring an output to its place: whole, verified, at once; the staged file is gone then."""

    def publish_many(self, outputs: Sequence[tuple[Path, PurePath, int, str]]) -> None:
        """The same for several outputs at the same time: staged path, final address, size, Adler-32 of each."""

    def discard(self, staged: Path) -> None:
        """Remove an output that was staged; it may be gone already."""

    def localized(self, path: PurePath, size: int, adler32: str) -> AbstractContextManager[Path]:
        """A local copy of a file that is what its manifest says, verified; there until the end of the block."""

    def url(self, path: PurePath) -> str:
        """What a library that reads remote files itself opens; the path where the store is local."""

    def move(self, source: PurePath, destination: PurePath) -> None:
        """Rename a file, replacing what has that name; makes the folder if needed."""

    def remove(self, path: PurePath) -> None:
        """Remove a file; it may be gone already."""

    def make_folder(self, folder: PurePath) -> None:
        """Make a folder with all above it; it may be there already."""

    def remove_folder(self, folder: PurePath) -> None:
        """Remove an empty folder; it may be gone already.

        Raises:
            OSError: with ``errno.ENOTEMPTY`` if it is not empty.
        """

    def lock(self, path: PurePath) -> Lock:
        """The lock of that name."""

    def walk(self, folder: PurePath) -> Iterator[tuple[PurePath, Sequence[Entry]]]:
        """All folders below one, it first, each with what is in it."""
