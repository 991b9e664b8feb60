"""A file comes to its place on a server: whole, verified and at once, or not at all.

It is written to a temporary name in the same folder, compared with what was sent, and renamed. Three requests, if
nothing goes wrong. Each attempt has a name of its own: of one that was given up, the server may go on to write.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple

from analysis.engine.storage.base import DamageError, ExistsError, NotFoundError, OutageError, RemoteError
from analysis.engine.storage.endpoints import Endpoint, Endpoints, Session

_ATTEMPTS = 2
_CHECKSUMS = 2
_LONGEST_NAME = 150  # [bytes] of the final name in the temporary one; file systems allow 255 in all
_logger = logging.getLogger("analysis.engine.storage")

Parts = tuple[str, ...]


class Content(NamedTuple):
    """What a file is to be.

    Args:
        size: [bytes].
        adler32: eight hexadecimal digits.
        send: writes it to an URL.
        small: the content itself where it is small, to be compared if the server knows no checksums.
    """

    size: int
    adler32: str
    send: Callable[[Endpoint, str], None]
    small: bytes | None = None


class Verifier:
    """Compares what is on the server with what it is to be.

    Args:
        store: its name.
        policy: ``auto``, ``require`` or ``off``; see :class:`~analysis.engine.storage.settings.RemoteSettings`.
    """

    def __init__(self, store: str, policy: str) -> None:
        self._store, self._policy = store, policy
        self._has_checksums: bool | None = None if policy != "off" else False
        self._warned = policy == "off"
        self._gates: dict[int, threading.Semaphore] = {}

    def problem(self, session: Session, parts: Parts, content: Content) -> str | None:
        """How a file differs from what it is to be; ``None`` if it does not.

        Raises:
            RemoteError: if the server does not tell.
        """
        try:
            found = self._checksum(session, parts, content.size)
            if found is not None:
                if found == content.adler32:
                    return None
                size = session.ask(lambda endpoint: endpoint.interface().stat(endpoint.url(parts))).size
                if size < content.size:  # some servers do not say so
                    return f"only {size} of {content.size} bytes are there, as on a full disk"
                return f"the checksum there is {found} instead of {content.adler32}"
            if content.small is not None:
                there = session.ask(lambda endpoint: endpoint.interface().read(endpoint.url(parts)))
                return None if there == content.small else "what is read back is not what was written"
            size = session.ask(lambda endpoint: endpoint.interface().stat(endpoint.url(parts))).size
        except NotFoundError:
            return "it is not there"
        return None if size == content.size else f"it has {size} bytes there instead of {content.size}"

    def _gate(self) -> threading.Semaphore:
        """A server computes few checksums at the same time, and tells all others to come back after half a minute."""
        return self._gates.setdefault(os.getpid(), threading.Semaphore(_CHECKSUMS))

    def _checksum(self, session: Session, parts: Parts, size: int) -> str | None:
        if self._has_checksums is False:
            return None

        def question(endpoint: Endpoint) -> str | None:
            with self._gate():  # not while a server that said "later" is left alone
                return endpoint.interface().checksum(endpoint.url(parts), size)

        found = session.ask(question)
        if found is not None:
            self._has_checksums = True
            return found.lower()
        if self._policy == "require":
            reason = "the server has no adler32 checksums, which 'checksum: require' of its section in law.cfg asks for"
            operation = "checksum"
            raise RemoteError(operation, session.endpoint.url(parts), reason, errno.ENOTSUP)
        if not self._has_checksums:
            self._has_checksums = False
        if not self._warned:
            self._warned = True
            _logger.warning("store %s: the server has no checksums: only sizes of uploads are compared", self._store)
        return None


def place(endpoints: Endpoints, parts: Parts, content: Content, verifier: Verifier) -> None:
    """Bring a file to its place; replaces one, and makes its folder if needed.

    Raises:
        DamageError: if what arrives is not what was sent, twice.
        RemoteError: if the server does not take it; what had that name is there as it was.
        OutageError: if it does not answer.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _place_once(endpoints.session(), parts, content, verifier)
        except DamageError:
            if attempt == _ATTEMPTS - 1:
                raise
    return None


def _place_once(session: Session, parts: Parts, content: Content, verifier: Verifier) -> None:
    temporary: list[Parts] = []

    def send(endpoint: Endpoint) -> None:
        endpoint.url(parts)  # whether the protocol has such names
        temporary.append((*parts[:-1], temporary_name(parts[-1])))
        try:
            content.send(endpoint, endpoint.url(temporary[-1]))
        except NotFoundError:  # its folder is not there, and so it is not
            temporary.pop()
            raise

    placed = False
    try:
        in_folder(session, parts[:-1], lambda: session.ask(send))
        sent = temporary[-1]
        if problem := verifier.problem(session, sent, content):
            operation = "upload"
            raise DamageError(operation, session.endpoint.url(parts), problem)
        rename(session, sent, parts, lambda: verifier.problem(session, parts, content))
        placed = True
    except RemoteError as error:  # people know the file by its final name
        folder, slash, name = error.url.rpartition("/")
        if name.endswith(".part"):
            error.url = f"{folder}{slash}{session.endpoint.url(parts).rpartition('/')[2]}"
        raise
    finally:
        _forget(session, temporary[:-1] if placed else temporary)


def rename(session: Session, old: Parts, new: Parts, problem: Callable[[], str | None]) -> None:
    """Rename a file, be the answer lost or not; makes the folder of the new name if needed.

    Args:
        session: asks the server.
        old: its name.
        new: its new name.
        problem: why the new name is not what it is to be, if the old one is gone.

    Raises:
        DamageError: if the old name is gone, and the new one is not what it is to be.
        NotFoundError: if neither of them is there.
    """

    def request() -> None:
        try:
            session.ask(lambda endpoint: endpoint.interface().rename(endpoint.url(old), endpoint.url(new)))
        except NotFoundError as error:
            if _is_there(session, old):
                raise  # it is the folder of the new name that is not
            # it was done by an attempt whose answer was lost, here or in the client library; or by nobody
            if reason := problem():
                msg = f"it is gone, and of its new name {reason}"
                raise DamageError(error.operation, error.url, msg) from error

    in_folder(session, new[:-1], request)


def _is_there(session: Session, parts: Parts) -> bool:
    try:
        session.ask(lambda endpoint: endpoint.interface().stat(endpoint.url(parts)))
    except NotFoundError:
        return False
    return True


def in_folder(session: Session, folder: Parts, request: Callable[[], None]) -> None:
    """Do what needs a folder, and make it only if it is not there.

    Raises:
        NotFoundError: if somebody removes it again and again.
    """
    for _ in range(_ATTEMPTS):
        try:
            return request()
        except NotFoundError:
            make_folders(session, folder)
    return request()


def make_folders(session: Session, folder: Parts) -> bool:
    """Make a folder with those above it, down from the root of the store.

    Returns:
        Whether it was not there before; uncertain after an outage.

    Raises:
        RemoteError: also if the root of the store would have to be made in a folder that is not there.
    """

    def make() -> bool:
        try:
            session.ask(lambda endpoint: endpoint.interface().make_folder(endpoint.url(folder)))
        except ExistsError:
            return False
        return True

    try:
        return make()
    except NotFoundError as error:
        if not folder:
            reason = "the folder above the root of this store is not there: make it, or correct 'base' in law.cfg"
            raise RemoteError(error.operation, error.url, reason, errno.ENOTDIR) from error
    make_folders(session, folder[:-1])
    return make()


def temporary_name(name: str) -> str:
    """Name of a file that is being written; tells who does so."""
    short = name.encode()[:_LONGEST_NAME].decode(errors="ignore")
    return f".{short}.{socket.gethostname()}-{os.getpid()}-x{secrets.token_hex(4)}.part"


def _forget(session: Session, temporary: list[Parts]) -> None:
    """Remove what is left of attempts, if the server answers; else it is collected later, by its name."""
    for parts in temporary:
        endpoint = session.endpoint
        try:
            endpoint.interface().remove(endpoint.url(parts), look=False)
        except OutageError:
            return
        except RemoteError as error:
            if not isinstance(error, NotFoundError):
                _logger.debug("%s could not be removed: %s", endpoint.url(parts), error.reason)
