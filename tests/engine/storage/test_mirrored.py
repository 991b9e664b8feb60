from __future__ import annotations

import errno
from pathlib import Path

import pytest

from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.base import NotFoundError, OutageError, RemoteError, Store
from analysis.engine.storage.mirrored import MirroredStore
from analysis.engine.storage.retry import Patience
from tests.engine.storage.fake import CONTENT, Fault, Server, adler32, publish, store_of


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    return tmp_path / "mirror"


@pytest.fixture
def store(server: Server, mirror: Path) -> MirroredStore:
    return MirroredStore(store_of(server), mirror)


@pytest.fixture
def broken(server: Server, tmp_path: Path) -> MirroredStore:
    """Its mirror cannot be made: there is a file in the way."""
    (tmp_path / "file").touch()
    return MirroredStore(store_of(server), tmp_path / "file" / "mirror")


def _read(store: MirroredStore, name: str, content: bytes) -> bytes:
    with store.localized(store.root / name, len(content), adler32(content)) as path:
        return path.read_bytes()


def test_it_is_a_store(store: MirroredStore) -> None:
    assert isinstance(store, Store)
    assert (store.kind, str(store.root / "v1")) == ("wlcg_mirrored", "wlcg_fs:/v1")


def test_what_is_written_goes_to_both(server: Server, store: MirroredStore, mirror: Path) -> None:
    publish(store, "v1/a/x")
    store.write(store.root / "v1" / "a" / "y", b"small")
    assert server.file("store/v1/a/x") == (mirror / "v1/a/x").read_bytes() == CONTENT
    assert server.file("store/v1/a/y") == (mirror / "v1/a/y").read_bytes() == b"small"
    assert sorted(path.name for path in (mirror / "v1/a").iterdir()) == ["x", "y"]


def test_several_are_published(server: Server, store: MirroredStore, mirror: Path) -> None:
    outputs = []
    for number in range(5):
        final = store.root / "v1" / f"{number}"
        staged = store.staging(final)
        staged.write_bytes(CONTENT)
        outputs.append((staged, final, len(CONTENT), adler32(CONTENT)))
    store.publish_many(outputs)
    for number in range(5):
        assert server.file(f"store/v1/{number}") == (mirror / f"v1/{number}").read_bytes() == CONTENT


def test_moved_and_removed_in_both(server: Server, store: MirroredStore, mirror: Path) -> None:
    publish(store, "v1/a/x")
    store.move(store.root / "v1" / "a" / "x", store.root / "v2" / "y")
    assert server.file("store/v2/y") == (mirror / "v2/y").read_bytes() == CONTENT
    assert not (mirror / "v1/a/x").exists()
    store.remove(store.root / "v2" / "y")
    assert server.file("store/v2/y") is None
    assert not (mirror / "v2/y").exists()
    store.remove_folder(store.root / "v2")
    assert not (mirror / "v2").exists()
    store.remove(store.root / "v2" / "y")


def test_a_move_of_what_the_mirror_lacks_leaves_no_older_file_there(
    server: Server, store: MirroredStore, mirror: Path
) -> None:
    publish(store, "v2/y")
    store.move(store.root / "v1" / "old", store.root / "v2" / "y")
    assert server.file("store/v2/y") == b"old"
    assert not (mirror / "v2/y").exists()


def test_local_copy_is_the_file_of_the_mirror_without_a_request(
    server: Server, store: MirroredStore, mirror: Path
) -> None:
    publish(store, "v1/x")
    server.operations()
    with store.localized(store.root / "v1" / "x", len(CONTENT), adler32(CONTENT)) as path:
        assert path == mirror / "v1" / "x"
    assert server.operations() == []


def test_what_the_mirror_lacks_is_fetched_once(server: Server, store: MirroredStore, mirror: Path) -> None:
    for _ in range(2):
        assert _read(store, "v1/old", b"old") == b"old"
        assert (mirror / "v1/old").read_bytes() == b"old"
    assert server.operations() == ["download"]


@pytest.mark.parametrize("wrong", [b"ol", b"odl", b"older"])
def test_a_file_of_the_mirror_that_is_something_else_is_fetched_again(
    server: Server, store: MirroredStore, mirror: Path, wrong: bytes
) -> None:
    assert _read(store, "v1/old", b"old") == b"old"
    (mirror / "v1/old").write_bytes(wrong)
    assert _read(store, "v1/old", b"old") == b"old"
    assert (mirror / "v1/old").read_bytes() == b"old"
    assert server.operations() == ["download"] * 2


def test_servers_decide_what_is_there(server: Server, store: MirroredStore, mirror: Path) -> None:
    publish(store, "v1/x")
    (mirror / "v1/extra").write_bytes(b"not on the server")
    del server.tree["store", "v1", "x"]
    assert store.sizes(store.root / "v1") == {"old": 3}
    assert store.names(store.root / "v1") == ["old"]
    assert [entry.name for entry in store.entries(store.root / "v1")] == ["old"]
    assert [str(folder) for folder, _ in store.walk(store.root / "v1")] == ["wlcg_fs:/v1"]
    with pytest.raises(NotFoundError):
        store.read(store.root / "v1" / "x")


def test_outage_is_not_hidden_by_the_mirror(server: Server, mirror: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = MirroredStore(store_of(server, patience=Patience(total=10)), mirror)
    server.down = {"a"}
    with pytest.raises(OutageError):
        store.sizes(store.root / "v1")
    with pytest.raises(OutageError):
        store.write(store.root / "v1" / "x", b"x")
    with pytest.raises(OutageError):
        _read(store, "v1/old", b"old")
    assert not [record for record in caplog.records if "mirror" in record.getMessage()]
    staged = store.staging(store.root / "v1" / "y")
    staged.write_bytes(CONTENT)
    with pytest.raises(OutageError):
        store.publish(staged, store.root / "v1" / "y", len(CONTENT), adler32(CONTENT))
    assert staged.exists()
    store.discard(staged)
    assert [path for path in mirror.rglob("*") if path.is_file()] == []


def test_run_goes_on_without_a_mirror_with_one_warning(
    server: Server, broken: MirroredStore, caplog: pytest.LogCaptureFixture
) -> None:
    publish(broken, "v1/x")
    broken.write(broken.root / "v1" / "y", b"small")
    assert _read(broken, "v1/x", CONTENT) == CONTENT
    broken.move(broken.root / "v1" / "x", broken.root / "v1" / "z")
    broken.remove(broken.root / "v1" / "y")
    assert server.file("store/v1/z") == CONTENT
    assert len(caplog.records) == 1
    text = caplog.records[0].getMessage()
    assert text.startswith("store wlcg_fs: the mirror /")
    assert "correct 'mirror' in law.cfg" in text


def test_run_goes_on_when_the_disk_of_the_mirror_is_full(
    server: Server,
    store: MirroredStore,
    mirror: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert _read(store, "v1/old", b"old") == b"old"
    (mirror / "v1/old").unlink()
    monkeypatch.setattr(Path, "replace", full)
    publish(store, "v1/x")
    store.write(store.root / "v1" / "y", b"small")
    assert _read(store, "v1/old", b"old") == b"old"
    assert server.file("store/v1/x") == CONTENT
    assert [record.getMessage().partition("(")[2].partition(")")[0] for record in caplog.records] == [
        "No space left on device"
    ]
    assert [path for path in mirror.rglob("*") if path.is_file()] == []


def test_full_server_is_an_error(server: Server, store: MirroredStore, mirror: Path) -> None:
    server.fail(Fault.FULL)
    with pytest.raises(RemoteError, match="no space left on device"):
        store.write(store.root / "v1" / "y", b"small")
    assert not (mirror / "v1/y").exists()


def test_addresses_are_safe_in_the_mirror_too(store: MirroredStore, mirror: Path) -> None:
    mirror.mkdir()
    outside = mirror.parent / "x"
    outside.touch()
    for path in (store.root / ".." / "x", store.root, mirror / "x"):
        for act in (store.remove, store.remove_folder, store.staging):
            with pytest.raises(AddressError):
                act(path)
        with pytest.raises(AddressError):
            store.write(path, b"")
        with pytest.raises(AddressError), store.localized(path, 0, "00000001"):
            pass
    assert outside.exists()
