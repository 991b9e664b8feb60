from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

import pytest

from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.base import (
    DamageError,
    Entry,
    FolderError,
    NotAFolderError,
    NotFoundError,
    OutageError,
    RemoteError,
    Store,
)
from analysis.engine.storage.remote import DamagedCopyError, RemoteStore
from analysis.engine.storage.retry import Patience
from tests.engine.storage.fake import Fault, Server, adler32, store_of


@pytest.fixture
def store(server: Server) -> RemoteStore:
    return store_of(server)


def test_it_is_a_store(store: RemoteStore) -> None:
    assert isinstance(store, Store)
    assert (store.kind, str(store.root / "v1")) == ("wlcg", "wlcg_fs:/v1")


# what is there


def test_listings_are_one_request(server: Server, store: RemoteStore) -> None:
    server.add("store/v1/sub/a b#", b"12")
    assert store.sizes(store.root / "v1") == {"old": 3}
    assert store.names(store.root / "v1") == ["old", "sub"]
    assert store.entries(store.root / "v1") == [Entry("old", 3, False, 0.0), Entry("sub", 0, True, 0.0)]
    assert server.operations() == ["list"] * 3
    assert store.sizes(store.root / "v1" / "sub") == {"a b#": 2}


def test_a_folder_that_is_not_there_is_empty_and_a_file_is_none(store: RemoteStore) -> None:
    assert store.sizes(store.root / "v2" / "x") == {}
    assert store.names(store.root / "v2") == []
    assert store.entries(store.root / "v2") == []
    with pytest.raises(NotAFolderError):
        store.sizes(store.root / "v1" / "old")


def test_an_outage_never_looks_like_absence(server: Server) -> None:
    store = store_of(server, "ab", Patience(total=20))
    server.down = set("ab")
    path = store.root / "v1"
    questions: list[Callable[[], object]] = [
        lambda: store.sizes(path),
        lambda: store.names(path),
        lambda: store.entries(path),
        lambda: store.stat(path),
        lambda: store.checksum(path / "old"),
        lambda: store.read(path / "old"),
        lambda: list(store.walk(path)),
        lambda: store.remove(path / "old"),
        lambda: store.remove_folder(path),
        lambda: store.make_folder(path),
        lambda: store.move(path / "old", path / "new"),
        lambda: store.localized(path / "old", 3, "").__enter__(),
    ]
    for question in questions:
        with pytest.raises(OutageError):
            question()
    assert server.file("store/v1/old") == b"old"


def test_walk_has_all_folders_it_first_one_request_each(server: Server, store: RemoteStore) -> None:
    server.add("store/v1/a/b/c", b"1")
    server.add("store/v1/d/e", b"22")
    found = {str(folder): [entry.name for entry in entries] for folder, entries in store.walk(store.root / "v1")}
    assert found == {
        "wlcg_fs:/v1": ["a", "d", "old"],
        "wlcg_fs:/v1/a": ["b"],
        "wlcg_fs:/v1/d": ["e"],
        "wlcg_fs:/v1/a/b": ["c"],
    }
    assert next(iter(found)) == "wlcg_fs:/v1"
    assert server.operations() == ["list"] * 4
    assert list(store.walk(store.root / "v2")) == [(store.root / "v2", [])]


def test_walk_lists_folders_of_one_level_at_the_same_time(server: Server, store: RemoteStore) -> None:
    for number in range(4):
        server.add(f"store/v2/{number}/x", b"")
    store.connections = 4
    walk = store.walk(store.root / "v2")
    assert len(list(walk)) == 5
    server.meeting = threading.Barrier(4)
    store.connections = 4
    server.most_active = 0
    assert [str(folder) for folder, _ in _walk_below(store, server)] == [f"wlcg_fs:/v2/{n}" for n in range(4)]
    assert server.most_active == 4


def _walk_below(store: RemoteStore, server: Server) -> Iterator[tuple[PurePath, object]]:
    meeting, server.meeting = server.meeting, None
    walk = store.walk(store.root / "v2")
    next(walk)
    server.meeting = meeting
    yield from walk


def test_stat_and_checksum_and_url(store: RemoteStore) -> None:
    assert store.stat(store.root / "v1" / "old") == Entry("old", 3, False, 0.0)
    assert store.stat(store.root).is_folder
    assert store.checksum(store.root / "v1" / "old") == adler32(b"old")
    assert store.url(store.root / "v1" / "x y") == "root://a//store/v1/x y"
    with pytest.raises(NotFoundError):
        store.stat(store.root / "v2")


# files go out


def test_local_copy_is_one_request(server: Server, store: RemoteStore) -> None:
    with store.localized(store.root / "v1" / "old", 3, adler32(b"old")) as path:
        assert path.read_bytes() == b"old"
        assert path.name == "old"
    assert not path.parent.exists()
    assert server.operations() == ["download"]
    with store.localized(store.root / "v1" / "old", 3, "") as path:
        assert path.read_bytes() == b"old"


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.FLIPPED])
def test_damaged_download_is_repeated_at_another_endpoint(server: Server, fault: Fault) -> None:
    store = store_of(server, "ab")
    server.fail(fault)
    with store.localized(store.root / "v1" / "old", 3, adler32(b"old")) as path:
        assert path.read_bytes() == b"old"
    assert sorted(server.hosts) == ["a", "b"]


def test_file_that_is_not_what_its_manifest_says(server: Server, store: RemoteStore, tmp_path: Path) -> None:
    with (
        pytest.raises(
            DamagedCopyError, match=r"^download root://a//store/v1/old: 3 bytes arrived instead of 4: run again"
        ),
        store.localized(store.root / "v1" / "old", 4, adler32(b"old")),
    ):
        pytest.fail("never handed out")
    with pytest.raises(DamagedCopyError, match="what arrived has the checksum 028c0140 instead of 00000001"):
        store.fetch(store.root / "v1" / "old", 3, "00000001", tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert server.operations() == ["download"] * 4


def test_cache_is_asked_with_address_size_and_checksum(server: Server, tmp_path: Path) -> None:
    asked = []

    class Copies:
        @contextmanager
        def open(self, key: str, size: int, adler32: str, fetch: Callable[[Path], None]) -> Iterator[Path]:
            asked.append((key, size, adler32))
            fetch(tmp_path / "copy")
            yield tmp_path / "copy"

    store = store_of(server, cache=Copies())
    with store.localized(store.root / "v1" / "old", 3, adler32(b"old")) as path:
        assert path.read_bytes() == b"old"
    assert asked == [("wlcg_fs:/v1/old", 3, adler32(b"old"))]


# names change


def test_move(server: Server, store: RemoteStore) -> None:
    store.move(store.root / "v1" / "old", store.root / "v1" / "new")
    assert (server.file("store/v1/new"), server.file("store/v1/old")) == (b"old", None)
    assert server.operations() == ["stat", "rename"]
    store.move(store.root / "v1" / "new", store.root / "v2" / "a" / "new")
    assert server.file("store/v2/a/new") == b"old"
    with pytest.raises(NotFoundError):
        store.move(store.root / "v1" / "new", store.root / "v2" / "a" / "new")
    with pytest.raises(FolderError):
        store.move(store.root / "v1", store.root / "v3")


@pytest.mark.parametrize("folder", ["v1", "v2/a"])
@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize("fault", [Fault.LOST, Fault.OUTAGE])
def test_move_of_which_an_answer_is_lost(
    server: Server, store: RemoteStore, folder: str, place: int, fault: Fault
) -> None:
    server.fail(*[Fault.NONE] * place, fault)
    store.move(store.root / "v1" / "old", store.root / folder / "new")
    assert (server.file(f"store/{folder}/new"), server.file("store/v1/old")) == (b"old", None)


def test_move_that_nobody_did_is_not_taken_for_done(server: Server, store: RemoteStore) -> None:
    server.add("store/v1/new", b"newer")
    server.fail(Fault.NONE, Fault.LOST)

    def vanish() -> None:
        if server.requests[-1][0] == "rename":
            server.tree.pop(("store", "v1", "old"), None)
            server.add("store/v1/new", b"newer")

    server.watch = vanish
    with pytest.raises(DamageError, match="5 bytes instead of 3"):
        store.move(store.root / "v1" / "old", store.root / "v1" / "new")


@pytest.mark.parametrize("faults", [[], [Fault.LOST], [Fault.OUTAGE, Fault.LOST]])
def test_remove_and_folders_twice_and_with_lost_answers(
    server: Server, store: RemoteStore, faults: list[Fault]
) -> None:
    folder = store.root / "v2" / "a"
    server.fail(*faults)
    store.make_folder(folder)
    store.make_folder(folder)
    assert store.stat(folder).is_folder
    server.fail(*faults)
    store.remove_folder(folder)
    store.remove_folder(folder)
    server.fail(*faults)
    store.remove(store.root / "v1" / "old")
    store.remove(store.root / "v1" / "old")
    assert sorted(server.tree) == [(), ("store",), ("store", "v1"), ("store", "v2")]


def test_folder_that_is_not_empty_stays(server: Server, store: RemoteStore) -> None:
    with pytest.raises(RemoteError, match="remove what is in it first") as caught:
        store.remove_folder(store.root / "v1")
    assert caught.value.errno == errno.ENOTEMPTY
    with pytest.raises(FolderError):
        store.remove(store.root / "v1")
    with pytest.raises(NotAFolderError, match="there is a file of that name"):
        store.make_folder(store.root / "v1" / "old")
    assert server.file("store/v1/old") == b"old"


def test_root_is_never_removed_and_no_address_leads_out(server: Server, store: RemoteStore) -> None:
    out = [
        store.root,
        store.root / ".." / "x",
        store.root / "v1" / ".." / ".." / "x",
        PurePath("other:/v1"),
        Path("/v1"),
    ]
    for path in [*out, store.root / "%2e%2e" / "x", store.root / "a%2f..%2fb"]:
        for act in (store.remove, store.remove_folder, store.read, store.staging, store.lock):
            with pytest.raises(AddressError):
                act(path)
        with pytest.raises(AddressError):
            store.write(path, b"")
        with pytest.raises(AddressError):
            store.move(store.root / "v1" / "old", path)
    for path in out[1:]:
        with pytest.raises(AddressError):
            store.sizes(path)
        with pytest.raises(AddressError):
            list(store.walk(path))
    assert server.operations() == []


def test_what_locks_need(server: Server, store: RemoteStore) -> None:
    store.write_plain(store.root / "v2" / ".1.x" / "token", b"me")
    assert server.operations()[-1] == "write"
    assert server.file("store/v2/.1.x/token") == b"me"
    store.write_plain(store.root / "v2" / ".1.x" / "token", b"me again")
    assert server.operations() == ["write"]


def test_names_are_encoded_where_the_protocol_wants_it(server: Server) -> None:
    store = store_of(server, scheme="https")
    for name in ("a b", "a#1", "a?x=1", "ä", "100%", "a%20b"):
        store.write(store.root / "v1" / name, name.encode())
        assert server.file(f"store/v1/{name}") == name.encode()
        assert store.read(store.root / "v1" / name) == name.encode()
