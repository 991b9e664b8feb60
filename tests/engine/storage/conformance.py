"""What holds for every client library and protocol: one list of tests, run by whoever has a server.

A test module gives the fixture ``place``, and names the functions of :data:`TESTS`.
"""

from __future__ import annotations

import contextlib
import errno
import random
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from analysis.engine.concurrent import concurrently
from analysis.engine.storage.base import (
    ExistsError,
    FolderError,
    Interface,
    NotAFolderError,
    NotFoundError,
    RemoteError,
)
from analysis.engine.storage.interfaces.common import HTTP
from tests.engine.storage.outages import check_outage, dead_port, forked, is_refused, requests, stalled

NAMES = (
    "sp ace",
    "a#b",
    "a?b",
    "a%20b",
    "a%b",
    "ümläut€",
    "a+b",
    "a&b=c;d",
    "it's",
    "[x]{y}",
    "日本",
    "~t",
    "-x",
    "a:b@c",
)


@dataclass(frozen=True)
class Place:
    """An empty folder to test in.

    Args:
        interface: the client library.
        url: of the folder.
        has_checksums: whether the server computes them.
        makes_parents: whether the server makes missing folders by itself.
    """

    interface: Interface
    url: str
    has_checksums: bool = True
    makes_parents: bool = True

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    def __truediv__(self, name: str) -> str:
        return f"{self.url}/{quote(name) if self.scheme in HTTP else name}"

    def names(self) -> set[str]:
        return {entry.name for entry in self.interface.list(self.url)}


def test_a_file_comes_back_as_it_was_written(place: Place) -> None:
    content = bytes(range(256)) * 10
    place.interface.write(place / "file", content)
    entry = place.interface.stat(place / "file")
    assert (entry.name, entry.size, entry.is_folder) == ("file", 2560, False)
    assert abs(entry.mtime - time.time()) < 3600
    assert place.interface.read(place / "file") == content


def test_a_write_replaces_the_file(place: Place) -> None:
    place.interface.write(place / "file", b"long content")
    place.interface.write(place / "file", b"short")
    assert place.interface.read(place / "file") == b"short"


def test_an_empty_file(place: Place, tmp_path: Path) -> None:
    place.interface.write(place / "written", b"")
    (tmp_path / "empty").touch()
    place.interface.upload(tmp_path / "empty", place / "uploaded")
    for name in ("written", "uploaded"):
        assert place.interface.stat(place / name).size == 0
        assert place.interface.read(place / name) == b""
        assert place.interface.download(place / name, tmp_path / "back") == "00000001"
        assert (tmp_path / "back").read_bytes() == b""
    if place.has_checksums:
        assert place.interface.checksum(place / "written") == "00000001"


def test_large_files_come_back_whole_with_the_checksum(place: Place, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(25_000_001)  # more than any library has on its way at once
    adler32 = f"{zlib.adler32(content):08x}"
    source = tmp_path / "odd #?% name"
    source.write_bytes(content)
    for _ in range(2):  # the second replaces the first
        place.interface.upload(source, place / "large")
    assert place.interface.download(place / "large", tmp_path / "back") == adler32
    assert (tmp_path / "back").read_bytes() == content
    assert place.interface.read(place / "large") == content
    if place.has_checksums:
        assert place.interface.checksum(place / "large") == adler32
    else:
        assert place.interface.checksum(place / "large") is None


def test_a_listing_tells_of_all_with_sizes(place: Place) -> None:
    assert place.interface.list(place.url) == []
    place.interface.write(place / "file", b"12345")
    place.interface.make_folder(place / "folder")
    found = {entry.name: entry for entry in place.interface.list(place.url)}
    assert found.keys() == {"file", "folder"}
    assert found["file"][:3] == ("file", 5, False)
    assert found["folder"][:3] == ("folder", 0, True)
    assert found["file"].mtime == place.interface.stat(place / "file").mtime
    assert place.interface.stat(place / "folder")[:3] == ("folder", 0, True)


def test_a_listing_of_1200(place: Place) -> None:
    names = [f"data_{index}.json" for index in range(1200)]
    concurrently(lambda name: place.interface.write(place / name, name.encode()), names, 4)
    entries = place.interface.list(place.url)
    assert len(entries) == 1200
    assert {entry.name: entry.size for entry in entries} == {name: len(name) for name in names}


def test_what_is_absent_is_said_to_be(place: Place, tmp_path: Path) -> None:
    absent = place / "absent"
    for operation in requests(place.interface, absent, place / "other", tmp_path):
        if operation.needs_file:
            with pytest.raises(NotFoundError):
                operation()
    with contextlib.suppress(NotFoundError):  # object stores do not say it
        place.interface.remove(absent, look=False)
    assert place.interface.list(place.url) == []
    assert not (tmp_path / "down").exists()


def test_below_a_file_there_is_nothing(place: Place) -> None:
    place.interface.write(place / "file", b"1")
    for call in (place.interface.stat, place.interface.list, place.interface.read):
        with pytest.raises(OSError, match="file/below"):
            call(f"{place / 'file'}/below")


def test_a_file_is_no_folder(place: Place) -> None:
    place.interface.write(place / "file", b"1")
    with pytest.raises(NotAFolderError):
        place.interface.list(place / "file")
    with pytest.raises(NotAFolderError):
        place.interface.remove_folder(place / "file")
    with pytest.raises(ExistsError):
        place.interface.make_folder(place / "file")
    assert place.interface.read(place / "file") == b"1"


def test_a_folder_is_no_file(place: Place, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"1")
    place.interface.make_folder(place / "folder")
    for call in (
        lambda: place.interface.remove(place / "folder"),
        lambda: place.interface.read(place / "folder"),
        lambda: place.interface.write(place / "folder", b"1"),
        lambda: place.interface.upload(tmp_path / "source", place / "folder"),
        lambda: place.interface.download(place / "folder", tmp_path / "down"),
        lambda: place.interface.checksum(place / "folder"),
    ):
        with pytest.raises(FolderError):
            call()
    assert place.interface.stat(place / "folder").is_folder
    assert not (tmp_path / "down").exists()


def test_rename_replaces_a_file(place: Place) -> None:
    place.interface.write(place / "new", b"new content")
    place.interface.write(place / "old", b"old")
    place.interface.rename(place / "new", place / "old")
    assert place.interface.read(place / "old") == b"new content"
    assert place.names() == {"old"}
    place.interface.rename(place / "old", place / "old")
    assert place.interface.read(place / "old") == b"new content"


def test_rename_replaces_no_folder_with_something_in_it(place: Place) -> None:
    for name in ("one", "two"):
        place.interface.make_folder(place / name)
        place.interface.write(f"{place / name}/file", name.encode())
    with pytest.raises(ExistsError):
        place.interface.rename(place / "one", place / "two")
    assert place.interface.read(f"{place / 'two'}/file") == b"two"
    assert place.interface.read(f"{place / 'one'}/file") == b"one"


def test_of_many_that_rename_a_full_folder_one_succeeds(place: Place) -> None:
    names = [f"claim-{index}" for index in range(8)]
    for name in names:
        place.interface.make_folder(place / name)
        place.interface.write(f"{place / name}/holder", name.encode())
    barrier = threading.Barrier(8)

    def claim(name: str) -> bool:
        barrier.wait(30)
        try:
            place.interface.rename(place / name, place / "lock")
        except ExistsError:
            return False
        return True

    won = concurrently(claim, names, 8)
    assert sum(won) == 1
    assert place.interface.read(f"{place / 'lock'}/holder").decode() == names[won.index(True)]


def test_make_folder_tells_of_what_is_there(place: Place) -> None:
    place.interface.make_folder(place / "folder")
    with pytest.raises(ExistsError):
        place.interface.make_folder(place / "folder")


def test_a_missing_parent_is_made_or_said_to_be_absent(place: Place) -> None:
    if place.makes_parents:
        place.interface.write(place / "above/file", b"1")
        assert place.interface.read(place / "above/file") == b"1"
        return
    with pytest.raises(NotFoundError):
        place.interface.write(place / "above/file", b"1")
    with pytest.raises(NotFoundError):
        place.interface.make_folder(place / "above/folder")


def test_only_an_empty_folder_is_removed(place: Place) -> None:
    place.interface.make_folder(place / "folder")
    place.interface.write(place / "folder/file", b"1")
    with pytest.raises(OSError, match="folder") as caught:
        place.interface.remove_folder(place / "folder")
    assert caught.value.errno == errno.ENOTEMPTY
    assert place.interface.read(place / "folder/file") == b"1"
    place.interface.remove(place / "folder/file", look=False)
    place.interface.remove_folder(place / "folder")
    assert place.names() == set()
    with contextlib.suppress(NotFoundError):  # XRootD's servers do not say it
        place.interface.remove_folder(place / "folder")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_kept_or_refused(place: Place, name: str) -> None:
    """Nothing of another name is ever written."""
    if is_refused(lambda: place.interface.write(place / name, name.encode())):
        assert place.names() == set()
        return
    assert place.names() == {name}
    assert place.interface.stat(place / name).name == name
    assert place.interface.read(place / name) == name.encode()
    if is_refused(lambda: place.interface.rename(place / name, place / f"{name}2")):
        assert place.names() == {name}
    else:
        assert place.names() == {f"{name}2"}
        place.interface.rename(place / f"{name}2", place / name)
    place.interface.remove(place / name)
    assert place.names() == set()


def test_which_names_are_possible(place: Place) -> None:
    refused: set[str] = {"file": set[str](), "s3": {"a?b"}, "root": {"a?b"}}.get(place.scheme, {"a?b", "a%20b", "a%b"})
    for name in ("a?b", "a%20b", "a%b", "a#b", "sp ace"):
        if name in refused:
            with pytest.raises(RemoteError, match="is not possible with"):
                place.interface.write(place / name, b"1")
        else:
            place.interface.write(place / name, b"1")


def test_eight_threads_at_once(place: Place) -> None:
    def work(index: int) -> list[bytes]:
        found = []
        for turn in range(10):
            place.interface.write(place / f"file-{index}", f"{index} {turn}".encode())
            assert f"file-{index}" in place.names()
            assert place.interface.stat(place / f"file-{index}").size == 3
            found.append(place.interface.read(place / f"file-{index}"))
        return found

    assert concurrently(work, range(8), 8) == [[f"{index} {turn}".encode() for turn in range(10)] for index in range(8)]


def test_forked_children_go_on(place: Place, tmp_path: Path) -> None:
    """Also if the parent is in the middle of requests."""
    source = tmp_path / "source"
    source.write_bytes(b"content" * 1000)

    def use(name: str) -> None:
        place.interface.upload(source, place / name)
        place.interface.write(place / f"{name}.small", b"small")
        place.interface.download(place / name, tmp_path / name)
        assert place.interface.stat(place / name).size == 7000
        assert place.interface.read(place / f"{name}.small") == b"small"
        assert name in place.names()
        place.interface.rename(place / name, place / f"{name}.moved")

    use("parent")
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            place.interface.stat(place / "parent.small")

    busy = threading.Thread(target=go_on)
    busy.start()
    try:
        children = [forked(lambda index=index: use(f"child-{index}")) for index in range(4)]  # type: ignore[misc]
    finally:
        stop.set()
        busy.join()
    assert children == ["done"] * 4, children
    use("parent")


def test_a_dead_port_is_an_outage(place: Place, tmp_path: Path) -> None:
    check_outage(place, dead_port(), tmp_path, most=15.0)


def test_a_stalled_server_is_an_outage(place: Place, tmp_path: Path, brief: Callable[[], Interface]) -> None:
    with stalled() as port:
        check_outage(place, port, tmp_path, most=20.0, interface=brief())


OF_SERVERS = (test_a_dead_port_is_an_outage, test_a_stalled_server_is_an_outage)
OF_FOLDERS = (
    test_rename_replaces_no_folder_with_something_in_it,
    test_of_many_that_rename_a_full_folder_one_succeeds,
    test_a_missing_parent_is_made_or_said_to_be_absent,
)
"""Those for what has folders that are things of their own."""
TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")]
"""All of them."""
