"""law's file system on top of a store; see :mod:`analysis.engine.storage.law_fs`.

law asks a *file interface* for everything; ours hands each question to the store, which retries, chooses endpoints and
verifies. Where law itself is wrong (version 0.1.21), one method of ours replaces one of law's, and says which; files
without a folder are law's ``target/remote/base.py``, and gfal is ``contrib/gfal/target.py``.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import stat
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path, PurePath
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any

import law
from law.target.file import get_path, get_scheme, remove_scheme
from law.target.remote.base import RemoteFileProxy, RemoteFileSystem
from law.target.remote.interface import RemoteFileInterface

from analysis.engine.storage import stores, transfer
from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.base import Entry, Store
from analysis.engine.storage.transfer import Place
from analysis.engine.storage.trees import is_transient, remove_tree


def _load_wlcg() -> None:
    """Load law's package without the file system it makes at once, which makes the directory of law's cache."""
    before = law.config.get("target", "default_wlcg_fs")  # law has a default for it
    law.config.set("target", "default_wlcg_fs", "")
    try:
        law.contrib.load("wlcg")
    finally:
        law.config.set("target", "default_wlcg_fs", before)


_load_wlcg()


class StoreInterface(RemoteFileInterface):  # type: ignore[misc]
    """What law asks of a file interface, answered by a store. Paths are relative to its root.

    Args:
        store: the store; it does retries and endpoints, and law's options of that kind are not looked at.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        super().__init__(base=[store.url(store.root)], random_base=False)

    def place(self, path: Any) -> Place:
        """Where a path is.

        Raises:
            AddressError: if it leads out of the store.
        """
        return transfer.place(self.store, str(path))

    def uri(self, path: Any, return_all: bool = False, scheme: bool = True, **_options: Any) -> Any:
        """What a library that reads remote files itself opens."""
        url = self.store.url(self.place(path).address)
        url = url if scheme else remove_scheme(url)
        return [url] if return_all else url

    def exists(self, path: Any, stat: bool = False, **_options: Any) -> Any:
        """Whether something is there, as the server says; law has ``False`` for whatever goes wrong, gfal:133.

        Raises:
            OSError: if it cannot tell.
        """
        found = transfer.entry(self.place(path))
        if stat:
            return None if found is None else _status(found)
        return found is not None

    def stat(self, path: Any, **_options: Any) -> os.stat_result:
        """What is there; asked again only after an outage, unlike law's, gfal:145."""
        found = transfer.entry(self.place(path))
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "there is no such file or folder", str(self.place(path)))
        return _status(found)

    def isdir(self, path: Any, stat: Any = None, **_options: Any) -> bool:
        """Whether it is a folder."""
        status = stat or self.exists(path, stat=True)
        return status is not None and _is_folder(status)

    def isfile(self, path: Any, stat: Any = None, **_options: Any) -> bool:
        """Whether it is a file."""
        status = stat or self.exists(path, stat=True)
        return status is not None and not _is_folder(status)

    def chmod(self, path: Any, perm: Any, **_options: Any) -> bool:  # noqa: ARG002
        """Storage of this kind has no modes."""
        return True

    def unlink(self, path: Any, silent: bool = True, **_options: Any) -> bool:
        """Remove a file."""
        return self._remove(path, silent, recursive=False, folder=False)

    def rmdir(self, path: Any, silent: bool = True, **_options: Any) -> bool:
        """Remove an empty folder."""
        return self._remove(path, silent, recursive=False, folder=True)

    def remove(self, path: Any, silent: bool = True, recursive: bool = True, **_options: Any) -> bool:
        """Remove a file, or a folder with all in it, which law's cannot, remote/base.py:427-441."""
        return self._remove(path, silent, recursive)

    def _remove(self, path: Any, silent: bool, recursive: bool, folder: bool | None = None) -> bool:
        where = self.place(path)
        found = transfer.entry(where)
        if found is None:
            if silent:
                return False
            raise FileNotFoundError(errno.ENOENT, "there is no such file or folder", str(where))
        if folder is not None and found.is_folder != folder:
            number = errno.ENOTDIR if folder else errno.EISDIR
            raise OSError(number, os.strerror(number).lower(), str(where))
        if not found.is_folder:
            self.store.remove(where.address)
        elif recursive:
            remove_tree(where).check()
        else:
            self.store.remove_folder(where.address)
        return True

    def mkdir(self, path: Any, perm: Any = None, silent: bool = True, **_options: Any) -> bool:
        """Make a folder in one that is there."""
        parent = self.place(path).address.parent
        if not self.isdir(parent):
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(parent))
        return self.mkdir_rec(path, perm, silent)

    def mkdir_rec(self, path: Any, perm: Any = None, silent: bool = True, **_options: Any) -> bool:  # noqa: ARG002
        """Make a folder with all above it."""
        where = self.place(path)
        found = transfer.entry(where)
        if found is not None and not (silent and found.is_folder):
            raise FileExistsError(errno.EEXIST, "there is something of that name", str(where))
        if found is None:
            self.store.make_folder(where.address)
        return found is None

    def entries(self, path: Any) -> list[Entry]:
        """All that is in a folder.

        Raises:
            FileNotFoundError: if there is no such folder.
            NotADirectoryError: if it is a file.
            OSError: if the server cannot tell.
        """
        where = self.place(path)
        entries = [e for e in sorted(self.store.entries(where.address)) if not is_transient(where.address / e.name)]
        if not entries and not self.isdir(path):  # law's is empty for whatever goes wrong, gfal:328
            number = errno.ENOTDIR if self.exists(path) else errno.ENOENT
            raise OSError(number, os.strerror(number).lower(), str(where))
        return entries

    def listdir(self, path: Any, **_options: Any) -> list[str]:
        """Names of all that is in a folder."""
        return [entry.name for entry in self.entries(path)]

    def filecopy(self, src: Any, dst: Any, **_options: Any) -> tuple[str, str]:
        """Copy a file, atomically and verified; law's writes to the final name, remote/base.py:349-370."""
        source, destination = self.resolve(src), self.resolve(dst)
        transfer.copy(source, destination)
        return _uri(source), _uri(destination)

    def resolve(self, path: Any) -> Place:
        """Where a target is, or a path as law writes it: on this machine with ``file://``, else in this store.

        Raises:
            AddressError: if it is neither.
        """
        if isinstance(path, Place):
            return path
        text = str(get_path(path) or "")
        scheme = get_scheme(text)
        if scheme == "file":
            return transfer.on_disk(Path(remove_scheme(text)))
        if scheme is not None or not text:
            what = f"{text} is a URL" if text else "there is no path"
            msg = f"{what}: hand over a target, or a path in the store {self.store.name}"
            raise AddressError(msg)
        return self.place(text)


class StoreFileSystem(law.wlcg.WLCGFileSystem):  # type: ignore[misc]
    """law's file system of a store. What law would read from its section of ``law.cfg``, the store has read.

    There is no cache of law's: it hands out files that are not complete, and evicts those in use (remote/cache.py).

    Args:
        store: the store.
    """

    file_interface_cls = StoreInterface

    def __init__(self, store: Store) -> None:
        RemoteFileSystem.__init__(self, self.file_interface_cls(store), name=store.name, has_permissions=False)
        self.config_section = store.name

    def __reduce__(self) -> tuple[object, ...]:  # there is one per store and process
        return _restored, (self.store.name,)

    def __deepcopy__(self, _memo: object) -> StoreFileSystem:
        return self

    @property
    def store(self) -> Store:
        """The store."""
        return self.file_interface.store  # type: ignore[no-any-return]

    def listdir(self, path: Any, pattern: str | None = None, type: str | None = None, **_options: Any) -> list[str]:
        """Names of what is in a folder, by one request; law's makes one per name if a type is asked for, :263-268."""
        entries: Sequence[Entry] = self.file_interface.entries(path)
        return [
            found.name
            for found in entries
            if (pattern is None or fnmatch.fnmatch(found.name, pattern))
            and (type is None or found.is_folder == (type == "d"))
        ]

    def walk(self, path: Any, max_depth: int = -1, **_options: Any) -> Iterator[tuple[str, list[str], list[str], int]]:
        """Folders with the names of their folders and files, and their depth, by one request each."""
        waiting = deque([(self.abspath(path), 0)])
        while waiting:
            folder, depth = waiting.popleft()
            entries = self.file_interface.entries(folder)
            folders = [found.name for found in entries if found.is_folder]
            yield folder, folders, [found.name for found in entries if not found.is_folder], depth
            if max_depth < 0 or depth < max_depth:
                waiting.extend((os.path.join(folder, name), depth + 1) for name in folders)  # noqa: PTH118

    def glob(self, pattern: Any, cwd: Any = None, **_options: Any) -> list[str]:
        """Paths of what matches; law's fails for a pattern without a wildcard, :301."""
        base = PurePath(self.abspath(cwd) if cwd is not None else "/")
        found = [base]
        for part in PurePath(str(pattern)).parts:
            if part == "/":
                found = [PurePath("/")]
            elif any(letter in part for letter in "*?["):
                found = [path / name for path in found for name in self._matching(path, part)]
            else:
                found = [path / part for path in found if self.exists(path / part)]
        return sorted(os.path.relpath(path, base) if cwd is not None else str(path) for path in found)

    def _matching(self, folder: PurePath, pattern: str) -> list[str]:
        if not self.isdir(folder):
            return []
        names = self.listdir(folder, pattern=pattern)
        return names if pattern.startswith(".") else [name for name in names if not name.startswith(".")]

    def remove(self, path: Any, **options: Any) -> Any:
        """Remove a file or folder; law's says nothing to the caller if it refuses, :227.

        Raises:
            AddressError: for the root.
        """
        if self.file_interface.place(path).address == self.store.root:
            msg = f"the root of the store {self.store.name} is never removed: name what is in it"
            raise AddressError(msg)
        return self.file_interface.remove(path, **options)

    def copy(self, src: Any, dst: Any, **_options: Any) -> str:
        """Copy a file, into a folder or to a path; see :func:`analysis.engine.storage.transfer.copy`."""
        source = self.file_interface.resolve(src)
        destination = _into_folder(self.file_interface.resolve(dst), source)
        transfer.copy(source, destination)
        return _uri(destination)

    def move(self, src: Any, dst: Any, **_options: Any) -> str:
        """Move a file; law's fails its own validation, :480-492."""
        source = self.file_interface.resolve(src)
        destination = _into_folder(self.file_interface.resolve(dst), source)
        transfer.move(source, destination)
        return _uri(destination)

    def open(self, path: Any, mode: str, **_options: Any) -> RemoteFileProxy:
        """Open a local copy to read; to write, a local file that is uploaded by ``close()`` or the end of ``with``.

        With law's, a file that is closed and not used with ``with`` is never uploaded, :748.
        """
        where = self.file_interface.place(path)
        if "x" in mode and self.exists(path):
            raise FileExistsError(errno.EEXIST, "there is something of that name", str(where))
        reads = mode.startswith("r") and "+" not in mode
        with ExitStack() as opening:
            local = transfer.local_copy(where) if reads else staged(where, keep="a" in mode or "r" in mode)
            file = opening.enter_context(local).open(mode)
            stack = opening.pop_all()
        discard = partial(stack.__exit__, _DiscardedError, _DiscardedError(), None)
        return RemoteFileProxy(file, close_fn=stack.close, success_fn=stack.close, failure_fn=discard)


class _DiscardedError(Exception):
    """What was written is not to be kept."""


@contextmanager
def staged(where: Place, keep: bool = False, folder: Any = None) -> Iterator[Path]:
    """A local path to write a file to, which is uploaded when the block ends well.

    Args:
        where: what the file is to be.
        keep: begin with what is there.
        folder: directory for the local file; default: that of law's option ``tmp_dir``.

    Raises:
        FileNotFoundError: if nothing was written; law says nothing then, :684.
        OSError: if it cannot be uploaded.
    """
    above = Path(get_path(folder) if folder else law.config.get_expanded("target", "tmp_dir"))
    above.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="analysis-", dir=above) as directory:
        path = Path(directory, where.address.name)
        if keep and transfer.entry(where) is not None:
            with transfer.local_copy(where) as copy:
                copyfile(copy, path)
        yield path
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "nothing was written to the local file for it", str(where))
        transfer.publish(path, where)


_systems: dict[str, StoreFileSystem] = {}


def file_system(store: Store) -> StoreFileSystem:
    """The file system of a store for law: one per store and process, where law has one per target (wlcg:70)."""
    known = _systems.get(store.name)
    if known is None or known.store is not store:
        known = _systems[store.name] = StoreFileSystem(store)
    return known


def _restored(name: str) -> StoreFileSystem:
    return file_system(stores.store_named(name))


def _into_folder(destination: Place, source: Place) -> Place:
    found = transfer.entry(destination)
    return destination / source.address.name if found is not None and found.is_folder else destination


def _uri(where: Place) -> str:
    url = where.store.url(where.address)
    return f"file://{url}" if isinstance(where.address, Path) else url


def _status(found: Entry) -> os.stat_result:
    mode = (stat.S_IFDIR | 0o770) if found.is_folder else (stat.S_IFREG | 0o660)
    return os.stat_result((mode, 0, 0, 1, 0, 0, found.size, found.mtime, found.mtime, found.mtime))


def _is_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)
