"""law's targets of files in stores: what ``task.output()`` has, and what people use in notebooks.

They are what law's are, with all their methods; but an outage raises and is never absence, what is written is whole and
verified or not there, and what law 0.1.21 gets wrong is put right in the method that says so. Files without a folder
are law's ``target/remote/base.py``.

This module is imported for remote stores only: law's package ``wlcg`` looks for gfal2.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import law
from law.target.file import FileSystemTarget, get_path
from law.util import create_hash

from analysis.engine.storage import formatters, transfer
from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.base import Store
from analysis.engine.storage.law_interface import StoreFileSystem, file_system, staged
from analysis.engine.storage.transfer import Place
from analysis.engine.storage.trees import remove_tree, tree

if TYPE_CHECKING:
    from analysis.engine.storage.mirrored import MirroredStore

formatters.install()


class StoreTarget(law.wlcg.WLCGTarget):  # type: ignore[misc]
    """A file or folder in a store."""

    fs: StoreFileSystem

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.fs.file_interface.place(self.path)  # type: ignore[no-any-return]

    @property
    def path(self) -> str:
        """Path relative to the root of the store, with a ``/`` before it."""
        return str(self._path)

    @path.setter
    def path(self, path: Any) -> None:
        # law takes "/../x" for a path below the root (:556), and replaces $NAME by a variable (file.py:170)
        if "$" in str(path):
            msg = f"{path} has a $ in it, which law takes for a variable: use another name"
            raise AddressError(msg)
        where = transfer.place(self.fs.store, str(path))
        law.wlcg.WLCGTarget.path.fset(self, "/" + "/".join(where.address.relative_to(where.store.root).parts))

    @property
    def hash(self) -> int:
        """The same for the same file, whichever endpoint its URL names."""
        return int(create_hash(str(self.place), to_int=True))

    def copy_to(self, dst: Any, **_options: Any) -> str:
        """Copy to another target, to a path on this machine with ``file://``, or to one in the same store.

        law joins two URLs if the destination is a remote target (:480-492).
        """
        return self._transfer(self.place, self._resolve(dst))

    def copy_from(self, src: Any, **_options: Any) -> str:
        """Copy from another target or path; see :meth:`copy_to`."""
        return self._transfer(self._resolve(src), self.place)

    def move_to(self, dst: Any, **_options: Any) -> str:
        """Move; see :meth:`copy_to`. law validates at the wrong place, and fails each time."""
        return self._transfer(self.place, self._resolve(dst), is_move=True)

    def move_from(self, src: Any, **_options: Any) -> str:
        """Move; see :meth:`copy_to`."""
        return self._transfer(self._resolve(src), self.place, is_move=True)

    def dump(self, *args: Any, **kwargs: Any) -> Any:
        """Write; law downloads the old content first (:640)."""
        _, kwargs = self.fs.split_remote_kwargs(kwargs, include=["perm", "dir_perm"])
        with self.localize("w") as local:
            return local.dump(*args, **kwargs)

    def _resolve(self, path: Any) -> Place:
        return self.fs.file_interface.resolve(place_of(path) or path)  # type: ignore[no-any-return]

    def _transfer(self, source: Place, destination: Place, is_move: bool = False) -> str:
        raise NotImplementedError


class StoreFileTarget(StoreTarget, law.wlcg.WLCGFileTarget):  # type: ignore[misc]
    """A file in a store."""

    @contextmanager
    def localize(self, mode: str = "r", tmp_dir: Any = None, **_options: Any) -> Iterator[law.LocalFileTarget]:
        """A local file: to read, a verified copy; to write, one that is uploaded when the block ends well.

        Args:
            mode: ``r``, ``w``, or ``a`` to begin with what is there.
            tmp_dir: directory for what is written.

        Raises:
            OSError: if it cannot be read or written; what was there is as it was.
        """
        if mode == "r":
            with transfer.local_copy(self.place) as path:
                yield law.LocalFileTarget(str(path))
            return
        _check_mode(mode)
        with staged(self.place, mode == "a", tmp_dir) as path:
            yield law.LocalFileTarget(str(path))

    def _transfer(self, source: Place, destination: Place, is_move: bool = False) -> str:
        return str((self.fs.move if is_move else self.fs.copy)(source, destination))


class StoreDirectoryTarget(StoreTarget, law.wlcg.WLCGDirectoryTarget):  # type: ignore[misc]
    """A folder in a store."""

    @contextmanager
    def localize(self, mode: str = "r", tmp_dir: Any = None, **_options: Any) -> Iterator[law.LocalDirectoryTarget]:
        """A local copy of the folder; law removes what is there before it uploads (:727), and cannot (:427-441).

        Args:
            mode: ``r``, ``w``, or ``a`` to begin with what is there.
            tmp_dir: directory for the local one.

        Raises:
            OSError: if it cannot be read or written; nothing that was there is removed before all is uploaded.
        """
        _check_mode(mode)
        above = Path(get_path(tmp_dir) if tmp_dir else law.config.get_expanded("target", "tmp_dir"))
        above.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="analysis-", dir=above) as directory:
            local = transfer.on_disk(Path(directory)) / (self.basename.strip("/") or "root")
            Path(local.address).mkdir()
            if mode == "r" or (mode == "a" and self.exists()):
                copy_tree(self.place, local)
            yield law.LocalDirectoryTarget(str(local.address))
            if mode == "r":
                return
            copy_tree(local, self.place)
            written = {found.parts for found in tree(local)}
            for found in [found for found in tree(self.place) if found.parts not in written]:
                if found.parts[:-1] in written or len(found.parts) == 1:  # else it went with its folder
                    remove_tree(found.place).check()

    def _transfer(self, source: Place, destination: Place, is_move: bool = False) -> str:
        copy_tree(source, destination)
        if is_move:
            remove_tree(source).check()
        return destination.store.url(destination.address)


for _cls in (StoreTarget, StoreFileTarget, StoreDirectoryTarget):
    _cls.file_class, _cls.directory_class = StoreFileTarget, StoreDirectoryTarget


def copy_tree(source: Place, destination: Place) -> None:
    """Copy a folder with all in it into another one, which may be there; uploads that are under way are left out.

    Raises:
        NotADirectoryError: if the source is a file.
        FileNotFoundError: if there is no such folder.
        OSError: if something cannot be copied.
    """
    there = transfer.entry(source)
    if there is None or not there.is_folder:
        number = errno.ENOENT if there is None else errno.ENOTDIR
        raise OSError(number, os.strerror(number).lower(), str(source))
    if source.store is destination.store and source.address in (destination.address, *destination.address.parents):
        msg = f"{source} cannot be copied into itself, to {destination}: choose another place"
        raise AddressError(msg)
    destination.store.make_folder(destination.address)
    for found in tree(source):
        to = transfer.place(destination.store, destination.address.joinpath(*found.parts))
        if found.entry.is_folder:
            destination.store.make_folder(to.address)
        else:
            transfer.copy(found.place, to)


class StoreMirroredTarget(law.MirroredTarget):  # type: ignore[misc]
    """A file or folder in a mirrored store: the store is asked, and it reads from its mirror what is as it should be.

    law takes a file of the mirror for one of the store, whatever its size (mirrored.py:236, :311).
    """

    def exists(self, *args: Any, **kwargs: Any) -> Any:
        """Whether the store has it."""
        return self.remote_target.exists(*args, **kwargs)

    def stat(self, *args: Any, **kwargs: Any) -> Any:
        """What the store has."""
        return self.remote_target.stat(*args, **kwargs)

    def localize(self, mode: str = "r", **kwargs: Any) -> Any:
        """A local file or folder; see :meth:`StoreFileTarget.localize`."""
        return self.remote_target.localize(mode, **kwargs)

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Content."""
        return self.remote_target.load(*args, **kwargs)

    def copy_to(self, *args: Any, **kwargs: Any) -> Any:
        """Copy; see :meth:`StoreTarget.copy_to`."""
        return self.remote_target.copy_to(*args, **kwargs)

    def copy_to_local(self, *args: Any, **kwargs: Any) -> Any:
        """Copy to this machine."""
        return self.remote_target.copy_to_local(*args, **kwargs)


class StoreMirroredFileTarget(StoreMirroredTarget, law.MirroredFileTarget):  # type: ignore[misc]
    """A file in a mirrored store."""

    def open(self, mode: str, **kwargs: Any) -> Any:
        """Open; see :meth:`StoreFileSystem.open`."""
        return self.remote_target.open(mode, **kwargs)


class StoreMirroredDirectoryTarget(StoreMirroredTarget, law.MirroredDirectoryTarget):  # type: ignore[misc]
    """A folder in a mirrored store."""

    def listdir(self, **kwargs: Any) -> Any:
        """Names of what is in it."""
        return self.remote_target.listdir(**kwargs)

    def glob(self, pattern: Any, **kwargs: Any) -> Any:
        """Paths of what matches."""
        return self.remote_target.glob(pattern, **kwargs)

    def walk(self, **kwargs: Any) -> Any:
        """Folders with the names of what is in them."""
        return self.remote_target.walk(**kwargs)


for _mirrored in (StoreMirroredTarget, StoreMirroredFileTarget, StoreMirroredDirectoryTarget):
    _mirrored.file_class, _mirrored.directory_class = StoreMirroredFileTarget, StoreMirroredDirectoryTarget


def target(store: Store, address: PurePath, is_folder: bool = False) -> FileSystemTarget:
    """The law target of a file or folder in a store.

    Args:
        store: the store.
        address: where, in that store.
        is_folder: whether it is a folder.

    Returns:
        ``law.LocalFileTarget``, ``law.wlcg.WLCGFileTarget`` or ``law.MirroredFileTarget``, or that of a directory.

    Raises:
        AddressError: if the address leads out of the store.
    """
    if isinstance(address, Path):
        return (law.LocalDirectoryTarget if is_folder else law.LocalFileTarget)(str(address))
    where = transfer.place(store, address)
    path = "/" + "/".join(where.address.relative_to(store.root).parts)
    remote = (StoreDirectoryTarget if is_folder else StoreFileTarget)(path, file_system(store))
    if store.kind != "wlcg_mirrored":
        return remote
    mirror = str(cast("MirroredStore", store).local(where.address))
    local = (law.LocalDirectoryTarget if is_folder else law.LocalFileTarget)(mirror)
    cls = StoreMirroredDirectoryTarget if is_folder else StoreMirroredFileTarget
    # what is written goes to the store, which writes the mirror itself: nothing to wait for
    return cls(path, remote_target=remote, local_target=local, local_read_only=True, local_sync=False)


def place_of(path: Any) -> Place | None:
    """Where a target is; ``None`` for what is no target."""
    if isinstance(path, law.MirroredTarget):
        path = path.remote_target
    if isinstance(path, StoreTarget):
        return path.place
    if isinstance(path, (law.LocalTarget, Path)):
        return transfer.on_disk(Path(get_path(path)))
    return None


def address_of_remote(remote: Any) -> PurePath:
    """Address of the file of a target of :func:`target`, in its store.

    Raises:
        AddressError: if it is no such target.
    """
    where = place_of(remote)
    if where is None:
        msg = f"{remote!r} is not in one of our stores: make it by task.target(name)"
        raise AddressError(msg)
    return where.address


def _check_mode(mode: str) -> None:
    if mode not in {"r", "w", "a"}:
        msg = f"mode {mode!r} is none of r, w and a"
        raise ValueError(msg)
