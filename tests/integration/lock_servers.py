"""What locks ask of a server, straight by XRootD's client and by HTTP: nothing is asked twice."""

from __future__ import annotations

import errno
import http.client
import json
import os
import ssl
import sys
from email.utils import parsedate_to_datetime
from pathlib import PurePath, PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from analysis.engine.holder import Holder
from analysis.engine.process import identity
from analysis.engine.storage.base import Entry, NotFoundError, error_of

ROOT = PurePosixPath("server:/")


class _Requests:
    """Counts requests; addresses are below the URL of a folder."""

    name = "server"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._folder = parts.netloc, parts.path.replace("//", "/")
        self.requests: list[str] = []

    def _path(self, path: PurePath) -> str:
        return str(PurePosixPath(self._folder) / path.relative_to(ROOT))


class XRootDStore(_Requests):
    """By ``root://``."""

    def __init__(self, url: str) -> None:
        from XRootD import client as untyped

        super().__init__(url)
        self._url = f"root://{self._host}/"
        self._client: Any = untyped
        client = self._client
        self._files = client.FileSystem(self._url)

    def _check(self, operation: str, path: PurePath, status: Any) -> None:
        self.requests.append(operation)
        if status.ok:
            return
        if status.errno == 3011:
            raise NotFoundError(operation, str(path), status.message)
        code = errno.ENOTEMPTY if "not empty" in status.message else errno.EIO
        raise error_of(code, operation, str(path), status.message)

    def stat(self, path: PurePath) -> Entry:
        status, info = self._files.stat(self._path(path))
        self._check("stat", path, status)
        return Entry(path.name, info.size, False, float(info.modtime))

    def entries(self, folder: PurePath) -> list[Entry]:
        status, listing = self._files.dirlist(self._path(folder), self._client.flags.DirListFlags.STAT)
        try:
            self._check("list", folder, status)
        except NotFoundError:
            return []
        return [Entry(item.name, item.statinfo.size, False, float(item.statinfo.modtime)) for item in listing]

    def read(self, path: PurePath) -> bytes:
        file = self._client.File()
        self._check("read", path, file.open(self._url + self._path(path))[0])
        status, content = file.read()
        file.close()
        self._check("read", path, status)
        return bytes(content)

    def write_plain(self, path: PurePath, content: bytes) -> None:
        flags, file = self._client.flags.OpenFlags, self._client.File()
        status, _ = file.open(self._url + self._path(path), flags.DELETE | flags.WRITE | flags.MAKEPATH)
        self._check("write", path, status)
        for done, _ in (file.write(content), file.close()):
            if not done.ok:
                raise error_of(errno.EIO, "write", str(path), done.message)

    def rename_folder(self, folder: PurePath, destination: PurePath) -> None:
        self._check("rename", folder, self._files.mv(self._path(folder), self._path(destination))[0])

    def remove(self, path: PurePath, look: bool = True) -> None:  # noqa: ARG002
        try:
            self._check("remove", path, self._files.rm(self._path(path))[0])
        except NotFoundError:
            return

    def remove_folder(self, folder: PurePath) -> None:
        try:
            self._check("remove folder", folder, self._files.rmdir(self._path(folder))[0])
        except NotFoundError:
            return


class DavStore(_Requests):
    """By WebDAV; the authority is that of ``SSL_CERT_FILE``."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))

    def _ask(self, operation: str, method: str, path: PurePath, body: bytes | None = None, **headers: str) -> bytes:
        self.requests.append(operation)
        # one connection each: the server ends it after an answer that it takes for an error
        connection = http.client.HTTPSConnection(self._host, context=self._context, timeout=60)
        try:
            connection.request(method, self._path(path), body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status < 300:
            return content
        text = content.decode(errors="replace").strip()
        if answer.status == 404:
            raise NotFoundError(operation, str(path), text)
        raise error_of(errno.ENOTEMPTY if "not empty" in text else errno.EIO, operation, str(path), text)

    def _entries(self, operation: str, path: PurePath, depth: str) -> list[Entry]:
        tree = ElementTree.fromstring(self._ask(operation, "PROPFIND", path, Depth=depth))
        return [
            Entry(
                (item.findtext("{DAV:}href") or "").rstrip("/").rpartition("/")[2],
                int(item.findtext(".//{*}getcontentlength") or 0),
                False,
                parsedate_to_datetime(item.findtext(".//{*}getlastmodified") or "").timestamp(),
            )
            for item in tree.iter("{DAV:}response")
        ]

    def stat(self, path: PurePath) -> Entry:
        return self._entries("stat", path, "0")[0]

    def entries(self, folder: PurePath) -> list[Entry]:
        itself = {".", PurePosixPath(self._path(folder)).name}
        try:
            return [entry for entry in self._entries("list", folder, "1") if entry.name not in itself]
        except NotFoundError:
            return []

    def read(self, path: PurePath) -> bytes:
        return self._ask("read", "GET", path)

    def write_plain(self, path: PurePath, content: bytes) -> None:
        self._ask("write", "PUT", path, content)

    def rename_folder(self, folder: PurePath, destination: PurePath) -> None:
        self._ask("rename", "MOVE", folder, Destination=f"https://{self._host}{self._path(destination)}")

    def remove(self, path: PurePath, look: bool = True) -> None:  # noqa: ARG002
        try:
            self._ask("remove", "DELETE", path)
        except NotFoundError:
            return

    def remove_folder(self, folder: PurePath) -> None:
        try:
            self._ask("remove folder", "DELETE", folder)
        except NotFoundError:
            return


def store_at(url: str) -> XRootDStore | DavStore:
    """The store of an URL."""
    return XRootDStore(url) if url.startswith("root:") else DavStore(url)


def forge(store: XRootDStore | DavStore, lock: PurePath, **changes: Any) -> str:
    """A lock of somebody like this process but for some facts."""
    token = "0123456789abcdef"
    holder = Holder(**{**vars(identity()), "since": "2026-01-01T00:00:00+00:00", "token": token, **changes})
    store.write_plain(lock / token, json.dumps(vars(holder)).encode())
    return token


def main(url: str, what: str, times: int) -> None:
    """A process that holds a lock, or counts under it."""
    from analysis.engine.storage.locks import RemoteLock

    store = store_at(url)
    lock, counter = RemoteLock(store, ROOT / ".17.lock"), ROOT / "counter"
    if what == "hold":
        assert lock.acquire()
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(times):
        lock.wait(poll=0.002)
        store.write_plain(counter, str(int(store.read(counter)) + 1).encode())
        assert lock.still_ours()
        lock.release()
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
