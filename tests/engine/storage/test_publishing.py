from __future__ import annotations

import errno
import logging
import os
import threading
from pathlib import Path

import pytest

from analysis.engine.storage import placing
from analysis.engine.storage.base import (
    DamageError,
    NotFoundError,
    OutageError,
    RemoteError,
    error_of,
)
from analysis.engine.storage.remote import RemoteStore
from analysis.engine.storage.retry import Patience
from tests.engine.storage.fake import CONTENT, FakeInterface, Fault, Server, adler32, publish, store_of


@pytest.fixture
def store(server: Server) -> RemoteStore:
    return store_of(server)


def test_publish_is_three_requests(server: Server, store: RemoteStore) -> None:
    staged = publish(store, "v1/new")
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
    publish(store, "v1/a", content)
    store.write(store.root / "v1" / "b", content)
    assert server.file("store/v1/a") == server.file("store/v1/b") == content


def test_folders_are_made_only_when_they_are_not_there(server: Server, store: RemoteStore) -> None:
    store.write(store.root / "v2" / "a" / "b", b"x")
    assert server.file("store/v2/a/b") == b"x"
    made = ["make folder"] * 3  # the last, the one above, the last
    assert server.operations() == ["write", *made, "write", "checksum", "rename"]
    publish(store, "v2/a/c")
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

    publish(store, "v1/x.parquet")
    temporary = store.root.joinpath(*server.requests[0][1].split("/")[1:])
    assert temporary.name.startswith(".x.parquet.")
    assert is_part(temporary)
    long = "ä" * 120  # 240 bytes
    publish(store, f"v1/{long}")
    assert all(len(path.rpartition("/")[2].encode()) <= 255 for _, path in server.requests)


@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.FLIPPED])
def test_what_arrives_damaged_is_sent_once_more(server: Server, store: RemoteStore, fault: Fault) -> None:
    server.fail(fault)
    publish(store, "v1/old")
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
        publish(store, "v1/old")
    assert server.file("store/v1/old") == b"old"
    assert server.unfinished() == []


def test_disk_full_is_not_tried_again_and_leaves_nothing(server: Server, store: RemoteStore) -> None:
    server.fail(Fault.FULL)
    with pytest.raises(
        RemoteError, match=r"^upload root://a//store/v1/old: no space left on device: free some space there"
    ) as caught:
        publish(store, "v1/old")
    assert caught.value.errno == errno.ENOSPC
    assert server.operations() == ["upload", "remove"]
    assert server.file("store/v1/old") == b"old"
    assert server.unfinished() == []


def test_server_that_goes_during_an_upload(server: Server, store: RemoteStore) -> None:
    server.fail(Fault.PARTIAL, Fault.OUTAGE)
    publish(store, "v1/old")
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
        store.upload(source, store.root / "v1" / "old", len(CONTENT), adler32(CONTENT))
    assert server.file("store/v1/old") == b"old"
    assert source.exists()
    assert len(server.unfinished()) == 1  # collected later, by its name


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_an_answer_that_is_lost_is_no_failure(server: Server, store: RemoteStore, lost: int) -> None:
    server.fail(*[Fault.NONE] * lost, Fault.LOST)
    publish(store, "v1/old")
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
    publish(store, "v1/a")
    assert server.operations() == ["upload", "checksum", "stat", "rename"]
    server.fail(Fault.TRUNCATED)
    publish(store, "v1/b")
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


def test_server_that_computes_a_checksum_later_keeps_no_other_upload_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "_CHECKSUMS", 1)
    checksum, late = FakeInterface.checksum, iter([True])

    def compute(interface: FakeInterface, url: str, size: int | None = None) -> str | None:
        if next(late, False):
            operation = "checksum"
            raise error_of(errno.ETIMEDOUT, operation, url, "operation expired")
        return checksum(interface, url, size)

    def other(_: float) -> None:
        thread = threading.Thread(target=store.write, args=(store.root / "v1" / "other", b"other"), daemon=True)
        thread.start()
        thread.join(20)
        done.append(not thread.is_alive())

    monkeypatch.setattr(FakeInterface, "checksum", compute)
    monkeypatch.setattr(server.time, "sleep", other)
    store, done = store_of(server), list[bool]()
    store.write(store.root / "v1" / "late", b"late")
    assert done == [True]
    assert (server.file("store/v1/late"), server.file("store/v1/other")) == (b"late", b"other")


def test_checksums_may_be_required_or_not_asked_for(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    publish(store_of(server, checksum="off"), "v1/a")
    assert server.operations() == ["upload", "stat", "rename"]
    assert not caplog.records
    server.has_checksums = False
    with pytest.raises(RemoteError, match="no adler32 checksums, which 'checksum: require'"):
        publish(store_of(server, checksum="require"), "v1/b")
    assert server.file("store/v1/b") is None
    assert server.unfinished() == []


def test_several_outputs_are_published_at_the_same_time_but_not_too_many(server: Server) -> None:
    store = store_of(server, connections=4)
    outputs = []
    for number in range(20):
        final = store.root / "v1" / f"{number}"
        staged = store.staging(final)
        staged.write_bytes(b"%d" % number)
        outputs.append((staged, final, len(b"%d" % number), adler32(b"%d" % number)))
    server.meeting = threading.Barrier(4)
    store.publish_many(outputs)
    server.meeting = None
    assert store.sizes(store.root / "v1") == {"old": 3, **{f"{number}": len(f"{number}") for number in range(20)}}
    assert server.most_active == 4


def test_staged_file_has_one_place_until_it_is_discarded(store: RemoteStore) -> None:
    first, other = (store.staging(store.root / "v1" / name) for name in ("x.root", "y.root"))
    assert first == store.staging(store.root / "v1" / "x.root")
    assert first.name == "x.root"
    assert first.parent.is_dir()
    assert first.parent != other.parent
    first.write_bytes(b"x")
    store.discard(first)
    store.discard(first)
    assert not first.exists()
    second = store.staging(store.root / "v1" / "x.root")
    assert second.parent.is_dir()
    store.discard(second)
    store.discard(other)
    assert not any(staged.parent.exists() for staged in (first, second, other))


def test_a_forked_process_stages_in_directories_of_its_own(store: RemoteStore) -> None:
    first, second = (store.staging(store.root / "v1" / name) for name in ("x.root", "y.root"))
    store.discard(second)  # its directory waits for the next output
    child = os.fork()
    if not child:
        mine = store.staging(store.root / "v1" / "z.root")
        is_own = mine.parent.name.startswith(f"analysis-{os.getpid()}-")
        store.discard(mine)
        store.discard(first)
        os._exit(0 if is_own and not mine.parent.exists() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert first.parent.is_dir()
    store.discard(first)
    assert not any(staged.parent.exists() for staged in (first, second))


def test_local_file_that_is_not_there_is_not_taken_for_a_remote_one(server: Server, store: RemoteStore) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        store.upload(Path("/nowhere/x"), store.root / "v3" / "x", 1, "00000001")
    assert not isinstance(caught.value, RemoteError)
    assert server.operations() == []
