from __future__ import annotations

import errno
import logging
import threading
import zlib
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
from tests.engine.storage.fake import Fault, Server, store_of

CONTENT = bytes(range(256)) * 10


@pytest.fixture
def server() -> Server:
    server = Server()
    server.add("store/v1/old", b"old")
    return server


@pytest.fixture
def store(server: Server) -> RemoteStore:
    return store_of(server)


def _adler32(content: bytes) -> str:
    return f"{zlib.adler32(content):08x}"


def _publish(store: RemoteStore, name: str, content: bytes = CONTENT) -> Path:
    final = store.root / name
    staged = store.staging(final)
    staged.write_bytes(content)
    store.publish(staged, final, len(content), _adler32(content))
    return staged


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
    assert store.checksum(store.root / "v1" / "old") == _adler32(b"old")
    assert store.url(store.root / "v1" / "x y") == "root://a//store/v1/x y"
    with pytest.raises(NotFoundError):
        store.stat(store.root / "v2")


# files come


def test_publish_is_three_requests(server: Server, store: RemoteStore) -> None:
    staged = _publish(store, "v1/new")
    assert server.file("store/v1/new") == CONTENT
    assert server.operations() == ["upload", "checksum", "rename"]
    assert not staged.parent.exists()
    assert server.unfinished() == []


def test_write_is_three_requests(server: Server, store: RemoteStore) -> None:
    store.write(store.root / "v1" / "old", CONTENT)
    assert server.file("store/v1/old") == CONTENT
    assert server.operations() == ["write", "checksum", "rename"]


@pytest.mark.parametrize("content", [b"", b"x"])
def test_empty_and_tiny_files(server: Server, store: RemoteStore, content: bytes) -> None:
    _publish(store, "v1/a", content)
    store.write(store.root / "v1" / "b", content)
    assert server.file("store/v1/a") == server.file("store/v1/b") == content


def test_folders_are_made_only_when_they_are_not_there(server: Server, store: RemoteStore) -> None:
    store.write(store.root / "v2" / "a" / "b", b"x")
    assert server.file("store/v2/a/b") == b"x"
    made = ["make folder"] * 3  # the last, the one above, the last
    assert server.operations() == ["write", *made, "write", "checksum", "rename"]
    _publish(store, "v2/a/c")
    assert server.operations() == ["upload", "checksum", "rename"]


def test_root_of_the_store_is_made_but_nothing_above_it(server: Server, store: RemoteStore) -> None:
    server.tree = {(): None}
    store.write(store.root / "v1" / "x", b"x")
    assert server.file("store/v1/x") == b"x"
    server.tree = {}
    with pytest.raises(RemoteError, match="the folder above the root of this store is not there") as caught:
        store.write(store.root / "v1" / "x", b"x")
    assert not isinstance(caught.value, NotFoundError)


def test_temporary_name_tells_who_writes(server: Server, store: RemoteStore) -> None:
    from analysis.engine.leftovers import is_part

    _publish(store, "v1/x.parquet")
    temporary = store.root.joinpath(*server.requests[0][1].split("/")[1:])
    assert temporary.name.startswith(".x.parquet.")
    assert is_part(temporary)
    long = "ä" * 120  # 240 bytes
    _publish(store, f"v1/{long}")
    assert all(len(path.rpartition("/")[2].encode()) <= 255 for _, path in server.requests)


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.FLIPPED])
def test_what_arrives_damaged_is_sent_once_more(server: Server, store: RemoteStore, fault: Fault) -> None:
    server.fail(fault)
    _publish(store, "v1/old")
    assert server.file("store/v1/old") == CONTENT
    assert server.unfinished() == []
    server.operations()
    server.fail(fault)
    store.write(store.root / "v1" / "old", CONTENT[:1000])
    assert server.file("store/v1/old") == CONTENT[:1000]
    assert server.operations() == ["write", "checksum", "stat", "remove", "write", "checksum", "rename"]


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.FLIPPED])
def test_what_arrives_damaged_twice_is_an_error_and_the_old_file_stays(
    server: Server, store: RemoteStore, fault: Fault
) -> None:
    server.fail(fault, Fault.NONE, Fault.NONE, Fault.NONE, fault)
    what = {
        Fault.FLIPPED: r"the checksum there is [0-9a-f]{8} instead of 9c3bfb3d",
        Fault.TRUNCATED: rf"only {len(CONTENT) // 2} of {len(CONTENT)} bytes are there, as on a full disk",
    }
    with pytest.raises(DamageError, match=rf"^upload root://a//store/v1/old: {what[fault]}: it was removed there"):
        _publish(store, "v1/old")
    assert server.file("store/v1/old") == b"old"
    assert server.unfinished() == []


def test_disk_full_is_not_tried_again_and_leaves_nothing(server: Server, store: RemoteStore) -> None:
    server.fail(Fault.FULL)
    with pytest.raises(
        RemoteError, match=r"^upload root://a//store/v1/old: no space left on device: free some space there"
    ) as caught:
        _publish(store, "v1/old")
    assert caught.value.errno == errno.ENOSPC
    assert server.operations() == ["upload", "remove"]
    assert server.file("store/v1/old") == b"old"
    assert server.unfinished() == []


def test_server_that_goes_during_an_upload(server: Server, store: RemoteStore) -> None:
    server.fail(Fault.PARTIAL, Fault.OUTAGE)
    _publish(store, "v1/old")
    assert server.file("store/v1/old") == CONTENT
    assert server.unfinished() == []
    names = {path for operation, path in server.requests if operation == "upload"}
    assert len(names) == 3  # never the name of an attempt of which the server may still write


def test_server_that_goes_after_the_upload_and_stays_away(server: Server, tmp_path: Path) -> None:
    store = store_of(server, patience=Patience(total=30))
    source = tmp_path / "x"
    source.write_bytes(CONTENT)
    server.watch = lambda: server.down.add("a")
    with pytest.raises(OutageError, match=r"^checksum root://a//store/v1/old: connection refused, tried for 30 s: "):
        store.upload(source, store.root / "v1" / "old", len(CONTENT), _adler32(CONTENT))
    assert server.file("store/v1/old") == b"old"
    assert source.exists()
    assert len(server.unfinished()) == 1  # collected later, by its name


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_an_answer_that_is_lost_is_no_failure(server: Server, store: RemoteStore, lost: int) -> None:
    server.fail(*[Fault.NONE] * lost, Fault.LOST)
    _publish(store, "v1/old")
    assert server.file("store/v1/old") == CONTENT
    assert server.unfinished() == []


def test_rename_that_was_done_is_recognised_by_its_content(server: Server, store: RemoteStore) -> None:
    server.fail(Fault.NONE, Fault.NONE, Fault.LOST)
    store.write(store.root / "v1" / "old", CONTENT)
    assert server.operations() == ["write", "checksum", "rename", "rename", "stat", "checksum"]


def test_a_temporary_file_that_vanishes_is_sent_once_more(server: Server, store: RemoteStore) -> None:
    def vanish() -> None:
        if server.requests[-1][0] == "checksum" and len(server.requests) == 2:
            del server.tree[next(path for path in server.tree if path and path[-1].endswith(".part"))]

    server.watch = vanish
    store.write(store.root / "v1" / "old", CONTENT)
    assert server.file("store/v1/old") == CONTENT


def test_without_checksums_sizes_are_compared_with_one_warning(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.has_checksums = False
    store = store_of(server)
    _publish(store, "v1/a")
    assert server.operations() == ["upload", "checksum", "stat", "rename"]
    server.fail(Fault.TRUNCATED)
    _publish(store, "v1/b")
    assert server.operations() == ["upload", "stat", "remove", "upload", "stat", "rename"]
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "store wlcg_fs: the server has no checksums: only sizes of uploads are compared"
    ]


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.FLIPPED])
def test_without_checksums_small_files_are_read_back(server: Server, fault: Fault) -> None:
    store = store_of(server, checksum="off")
    server.fail(fault)
    store.write(store.root / "v1" / "old", CONTENT)
    assert server.file("store/v1/old") == CONTENT
    assert server.operations() == ["write", "read", "remove", "write", "read", "rename"]


def test_checksums_may_be_required_or_not_asked_for(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    _publish(store_of(server, checksum="off"), "v1/a")
    assert server.operations() == ["upload", "stat", "rename"]
    assert not caplog.records
    server.has_checksums = False
    with pytest.raises(RemoteError, match="no adler32 checksums, which 'checksum: require'"):
        _publish(store_of(server, checksum="require"), "v1/b")
    assert server.file("store/v1/b") is None
    assert server.unfinished() == []


def test_several_outputs_are_published_at_the_same_time_but_not_too_many(server: Server) -> None:
    store = store_of(server, connections=4)
    outputs = []
    for number in range(20):
        final = store.root / "v1" / f"{number}"
        staged = store.staging(final)
        staged.write_bytes(b"%d" % number)
        outputs.append((staged, final, len(b"%d" % number), _adler32(b"%d" % number)))
    server.meeting = threading.Barrier(4)
    store.publish_many(outputs)
    server.meeting = None
    assert store.sizes(store.root / "v1") == {"old": 3, **{f"{number}": len(f"{number}") for number in range(20)}}
    assert server.most_active == 4


def test_staged_file_has_one_place_until_it_is_discarded(store: RemoteStore) -> None:
    first = store.staging(store.root / "v1" / "x.root")
    assert first == store.staging(store.root / "v1" / "x.root")
    assert first.name == "x.root"
    assert first.parent.is_dir()
    assert first.parent != store.staging(store.root / "v1" / "y.root").parent
    first.write_bytes(b"x")
    store.discard(first)
    store.discard(first)
    assert not first.parent.exists()
    second = store.staging(store.root / "v1" / "x.root")
    assert second.parent.is_dir()
    store.discard(second)
    store.discard(store.staging(store.root / "v1" / "y.root"))


def test_local_file_that_is_not_there_is_not_taken_for_a_remote_one(server: Server, store: RemoteStore) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        store.upload(Path("/nowhere/x"), store.root / "v3" / "x", 1, "00000001")
    assert not isinstance(caught.value, RemoteError)
    assert server.operations() == []


# files go out


def test_local_copy_is_one_request(server: Server, store: RemoteStore) -> None:
    with store.localized(store.root / "v1" / "old", 3, _adler32(b"old")) as path:
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
    with store.localized(store.root / "v1" / "old", 3, _adler32(b"old")) as path:
        assert path.read_bytes() == b"old"
    assert sorted(server.hosts) == ["a", "b"]


def test_file_that_is_not_what_its_manifest_says(server: Server, store: RemoteStore, tmp_path: Path) -> None:
    with (
        pytest.raises(
            DamagedCopyError, match=r"^download root://a//store/v1/old: 3 bytes arrived instead of 4: run again"
        ),
        store.localized(store.root / "v1" / "old", 4, _adler32(b"old")),
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
    with store.localized(store.root / "v1" / "old", 3, _adler32(b"old")) as path:
        assert path.read_bytes() == b"old"
    assert asked == [("wlcg_fs:/v1/old", 3, _adler32(b"old"))]


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
