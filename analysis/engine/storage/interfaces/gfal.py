"""gfal2, for all protocols of the grid.

A context is used by one thread at a time and by one process: they wait in a pool. gfal2 copies to ``root://`` with a
function that hangs in a forked process; files are read and written through handles there.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.machinery
import importlib.util
import os
import re
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from analysis.engine.storage.base import (
    Entry,
    NotAFolderError,
    NotFoundError,
    RemoteError,
    error_of,
)
from analysis.engine.storage.credentials import bearer_token, proxy_file
from analysis.engine.storage.interfaces.common import (
    CHUNK,
    HTTP,
    IS_FILE,
    IS_FOLDER,
    IS_THERE,
    NOT_RENAMED,
    TIMEOUT,
    Address,
    Heard,
    address_of,
    authorities,
    code_of_tls,
    patience,
    plain,
    same_folder_error,
    set_defaults,
    told_as_denied,
)
from analysis.engine.storage.interfaces.saving import save
from analysis.engine.storage.interfaces.webdav import Webdav

SYSTEM = Path("/usr/lib/python3/dist-packages")
"""Where the package of the system (``python3-gfal2``) has its module."""
CODES = {
    **{
        errno.EBADE: errno.EACCES,
        errno.ESTALE: errno.ETIMEDOUT,
        errno.EILSEQ: errno.EBADMSG,
        errno.EDOM: errno.EBADMSG,
    },
    **{errno.EUSERS: errno.EAGAIN, errno.ETXTBSY: errno.EBUSY, errno.ETIME: errno.ETIMEDOUT, errno.ENODEV: errno.EIO},
    **dict.fromkeys(
        (
            *(errno.ENETRESET, errno.ENOMSG, errno.EPROTO, errno.ENOSR, errno.ECHRNG, errno.EIDRM, errno.EINTR),
            *(errno.ELOOP, errno.ENOTSOCK, errno.EADDRNOTAVAIL, errno.EBADMSG, errno.ESPIPE, errno.ENOEXEC),
        ),
        errno.EHOSTUNREACH,
    ),
}
"""Codes of ``root://`` that mean something else than their name says. Source: XrdPosixMap.cc, XProtocol.hh."""
STATUS_CODES = {
    **{401: errno.EACCES, 403: errno.EACCES, 404: errno.ENOENT, 410: errno.ENOENT, 423: errno.EBUSY},
    **{429: errno.EAGAIN, 413: errno.EFBIG, 507: errno.ENOSPC},
    **dict.fromkeys((408, 425, 500, 502, 503, 504), errno.ECOMM),
}
"""HTTP status as ``errno``; those that depend on the request are left out."""

_STATUS = re.compile(r"\bHTTP (\d{3})\b")
_HANDLES = frozenset({"root", "roots", "xroot", "xroots", "file"})
_lock = threading.Lock()
Answer = TypeVar("Answer")


class GfalInterface:
    """gfal2.

    Args:
        timeout: of a request [s].
    """

    name: ClassVar[str] = "gfal2"
    schemes: ClassVar[frozenset[str]] = _HANDLES | HTTP | {"srm", "gsiftp"}

    def __init__(self, timeout: int = TIMEOUT) -> None:
        set_defaults()
        self._timeout = timeout
        self._heard = Heard(timeout)
        self._webdav = Webdav(timeout)
        self._contexts: dict[int, list[_Context]] = {}

    @classmethod
    def problem(cls) -> str | None:
        """Why it cannot be used in this environment; ``None`` if it can."""
        if importlib.util.find_spec("gfal2") is not None or _of_system() is not None:
            return None
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return f"gfal2 is missing for Python {version}: install python3-gfal2 and use the system's version of Python"

    @classmethod
    def problem_for(cls, scheme: str) -> str | None:  # noqa: ARG003
        """The same for URLs of a scheme."""
        return cls.problem()

    def stat(self, url: str) -> Entry:
        """What is there."""
        found = self._ask("stat", url, lambda context, there: context.stat(there))
        return _entry(_address("stat", url).name, found)

    def list(self, url: str) -> list[Entry]:
        """All that is in a folder, by one request, whole or not at all."""

        def read(context: Any, there: str) -> list[Entry]:
            entries: list[Entry] = []
            folder = context.opendir(there)
            while True:
                item, found = folder.readpp()
                if item is None or not item.d_name:
                    return entries
                if item.d_name not in (".", ".."):
                    entries.append(_entry(item.d_name, found))

        try:
            return self._ask("list", url, read)
        except RemoteError as error:
            if isinstance(error, NotFoundError | NotAFolderError):
                raise
            # root:// has a code of its own making here, which elsewhere means damage
            if (error.errno == errno.EBADMSG or not error.is_transient) and not self.stat(url).is_folder:
                raise error_of(errno.ENOTDIR, "list", url, IS_FILE) from error
            raise

    def read(self, url: str) -> bytes:
        """Content of a file."""

        def read(context: Any, there: str) -> bytes:
            return b"".join(iter(partial(context.open(there, "r").read_bytes, CHUNK), b""))

        size = self._size("read", url)
        content = self._ask("read", url, read)
        _same_size("read", url, len(content), size)
        return content

    def write(self, url: str, content: bytes) -> None:
        """Write a small file of that very name."""
        if _address("write", url).scheme in _HANDLES:
            self._send("write", url, [content] if content else [])
            _same_size("write", url, self._size("write", url), len(content))
            return
        memory = os.memfd_create("content")
        try:
            with open(memory, "wb", closefd=False) as file:
                file.write(content)
            self._copy("write", url, f"file:///proc/self/fd/{memory}", len(content))
        finally:
            os.close(memory)

    def upload(self, source: Path, url: str) -> None:
        """Copy a local file to that very name."""
        size = source.stat().st_size
        if _address("upload", url).scheme not in _HANDLES:
            with source.open("rb") as file:  # names of this machine need no quoting so
                self._copy("upload", url, f"file:///proc/self/fd/{file.fileno()}", size)
            return
        with source.open("rb") as file:
            self._send("upload", url, iter(lambda: file.read(CHUNK), b""))
        _same_size("upload", url, self._size("upload", url), size)

    def download(self, url: str, destination: Path) -> str:
        """Copy a file to a local path; its Adler-32."""
        size = self._size("download", url)

        def read(context: Any, there: str) -> str:
            return save(iter(partial(context.open(there, "r").read_bytes, CHUNK), b""), destination)

        adler32 = self._ask("download", url, read)
        _same_size("download", url, destination.stat().st_size, size)
        return adler32

    def rename(self, url: str, destination: str) -> None:
        """Give a file another name on the same server, at once; replaces a file of that name, but no full folder."""
        target = _address("rename", destination)
        if target.scheme in HTTP and target.quoted != target.path:
            raise error_of(errno.EINVAL, "rename", destination, NOT_RENAMED)
        try:
            self._ask("rename", url, lambda context, there: context.rename(there, _quoted(target)))
        except RemoteError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.EIO, errno.ECOMM):
                raise same_folder_error("rename", destination, self.stat) or error from error
            raise

    def remove(self, url: str, look: bool = True) -> None:
        """Remove a file."""
        if look and self.stat(url).is_folder:  # some servers would remove it
            raise error_of(errno.EISDIR, "remove", url, IS_FOLDER)
        self._ask("remove", url, lambda context, there: context.unlink(there))

    def make_folder(self, url: str) -> None:
        """Make one folder. Of those who try at the same moment several may succeed, for the server tells them so."""
        with contextlib.suppress(NotFoundError):
            self.stat(url)
            raise error_of(errno.EEXIST, "make folder", url, IS_THERE)
        self._ask("make folder", url, lambda context, there: context.mkdir(there, 0o775))

    def remove_folder(self, url: str) -> None:
        """Remove an empty folder."""
        if self.list(url):  # WebDAV has one request for a file, and for a folder with all that is in it
            raise error_of(errno.ENOTEMPTY, "remove folder", url, "directory not empty")
        self._ask("remove folder", url, lambda context, there: context.rmdir(there))

    def checksum(self, url: str, size: int | None = None) -> str | None:
        """Adler-32 of a file as the server computes it; ``None`` if it cannot."""
        if _address("checksum", url).scheme in HTTP and Webdav.problem() is None:
            return self._webdav.checksum(url, size)  # gfal2 waits half a minute for a server that computes others
        self._size("checksum", url)  # a folder has none
        try:
            answer = self._ask("checksum", url, lambda context, there: context.checksum(there, "ADLER32"))
        except RemoteError as error:
            if error.errno in (errno.ENOTSUP, errno.ENOSYS):
                return None
            raise
        return str(answer).lower().rjust(8, "0") if answer else None

    def _size(self, operation: str, url: str) -> int:
        found = self.stat(url)
        if found.is_folder:
            raise error_of(errno.EISDIR, operation, url, IS_FOLDER)
        return found.size

    def _send(self, operation: str, url: str, chunks: Iterable[bytes]) -> None:
        def write(context: Any, there: str) -> None:
            file = context.open(there, "w")
            for content in chunks:
                if file.write(content) != len(content):
                    raise error_of(errno.EIO, operation, url, "not all was written")

        self._ask(operation, url, write)

    def _copy(self, operation: str, url: str, source: str, size: int) -> None:
        def copy(context: Any, there: str) -> None:
            how = context.transfer_parameters()
            how.overwrite, how.create_parent = True, False
            how.timeout = int(patience(self._timeout, size))
            context.filecopy(how, source, there)

        try:
            self._ask(operation, url, copy)
        except RemoteError:  # a folder of that name may be the reason, which has no code of its own
            with contextlib.suppress(RemoteError):
                if self.stat(url).is_folder:
                    raise error_of(errno.EISDIR, operation, url, IS_FOLDER) from None
            raise

    def _ask(self, operation: str, url: str, question: Callable[[Any, str], Answer]) -> Answer:
        address = _address(operation, url)
        if address.scheme in HTTP:  # gfal2 waits half a minute for a connection, whatever its limits are
            self._hear(operation, url, address)
        with self._context(operation, url, address) as context:
            try:
                answer = question(context, _quoted(address))
            except module().GError as error:
                self._heard.forget(address.host)
                if address.scheme in HTTP and not _STATUS.search(str(error)):
                    self._hear(operation, url, address)  # nothing came: nobody is there, or does not like our proxy
                    with told_as_denied(operation, url):
                        proxy_file()
                raise _error(error, address.scheme, operation, url) from error
        self._heard.again(address.host)
        return answer

    def _hear(self, operation: str, url: str, address: Address) -> None:
        self._heard.check(operation, url, address.host, address.scheme in ("davs", "https"))

    @contextlib.contextmanager
    def _context(self, operation: str, url: str, address: Address) -> Iterator[Any]:
        waiting = self._contexts.setdefault(os.getpid(), [])
        try:
            context = waiting.pop()
        except IndexError:
            context = _Context(self._timeout)
        if address.scheme in HTTP:
            context.authorize(operation, url, address)
        try:
            yield context.gfal
        finally:
            waiting.append(context)


class _Context:
    """A context of gfal2, with all options set from here.

    Args:
        timeout: of a request [s].
    """

    def __init__(self, timeout: int) -> None:
        library = module()
        with _lock:
            self.gfal: Any = library.creat_context()
        self._tokens: dict[str, str] = {}
        for group, option in (
            *(("CORE", "NAMESPACE_TIMEOUT"), ("CORE", "CHECKSUM_TIMEOUT"), ("HTTP PLUGIN", "OPERATION_TIMEOUT")),
            *(("SRM PLUGIN", "OPERATION_TIMEOUT"), ("GRIDFTP PLUGIN", "OPERATION_TIMEOUT")),
        ):
            self.gfal.set_opt_integer(group, option, timeout)
        self.gfal.set_opt_boolean("HTTP PLUGIN", "RETRIEVE_BEARER_TOKEN", False)
        self.gfal.set_opt_boolean("BDII", "ENABLED", False)
        if (folder := authorities()) is not None:
            os.environ.setdefault("X509_CERT_DIR", str(folder))

    def authorize(self, operation: str, url: str, address: Address) -> None:
        """Give the token of now to gfal2, not to the environment, where each child would find it."""
        with told_as_denied(operation, url):
            token = bearer_token() or ""
        if self._tokens.get(address.server, "") == token:
            return
        if token:
            self.gfal.cred_set(address.server, self.gfal.cred_new("BEARER", str(token)))
        else:
            self.gfal.cred_del("BEARER", address.server)
        self._tokens[address.server] = token


def module() -> Any:
    """The module ``gfal2``: of this environment, else the system's if it is for this version of Python.

    Raises:
        ImportError: if there is none.
    """
    with _lock:
        if "gfal2" in sys.modules:
            return sys.modules["gfal2"]
        set_defaults()
        if importlib.util.find_spec("gfal2") is not None:
            return importlib.import_module("gfal2")
        path = _of_system()
        if path is None:
            msg = str(GfalInterface.problem())
            raise ImportError(msg)
        loader = importlib.machinery.ExtensionFileLoader("gfal2", str(path))
        spec = importlib.util.spec_from_file_location("gfal2", path, loader=loader)
        assert spec is not None
        sys.modules["gfal2"] = importlib.util.module_from_spec(spec)
        loader.exec_module(sys.modules["gfal2"])
        return sys.modules["gfal2"]


def _of_system() -> Path | None:
    path = SYSTEM / f"gfal2{sysconfig.get_config_var('EXT_SUFFIX')}"
    return path if path.is_file() else None


def _address(operation: str, url: str) -> Address:
    scheme = url.partition("://")[0]
    return address_of(operation, url, "" if scheme == "file" else "?%" if scheme in HTTP else "?")


def _quoted(address: Address) -> str:
    slash = "/" if address.scheme in _HANDLES - {"file"} else ""  # root://host//path
    path = address.path if address.scheme == "file" else address.quoted
    return f"{address.server}{slash}{path}"


def _entry(name: str, found: Any) -> Entry:
    is_folder = bool(found.st_mode & 0o040000)
    return Entry(name, 0 if is_folder else int(found.st_size), is_folder, float(found.st_mtime))


def _same_size(operation: str, url: str, found: int, expected: int) -> None:
    if found != expected:
        raise error_of(errno.EBADMSG, operation, url, f"{found} bytes came instead of {expected}")


# without an answer, gfal2's code of an error of its HTTP library says little: a lost connection is EACCES or ENXIO
_NOTHING = (errno.EACCES, errno.ENXIO, errno.EIO)


def _error(error: Any, scheme: str, operation: str, url: str) -> RemoteError:
    code, text = int(error.code), str(error)
    if scheme in HTTP:
        if status := _STATUS.search(text):
            code = STATUS_CODES.get(int(status[1]), code)
        elif refused := code_of_tls(text):
            code = refused
        elif "(Neon)" in text and code in _NOTHING and not re.search("certificate|credential", text, re.I):
            code = errno.ECONNRESET
    elif scheme != "file":
        code = CODES.get(code, code)
    return error_of(code, operation, url, plain(text))
