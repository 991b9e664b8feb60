"""Whatever goes wrong, in whatever order: under a final name there is nothing, the old file, or the whole new one."""

from __future__ import annotations

import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from analysis.engine.storage.base import DamageError, NotFoundError, OutageError, RemoteError
from analysis.engine.storage.retry import Patience
from tests.engine.storage.fake import Fault, Server, store_of

OLD, NEW = b"the old content", b"what is new, and longer"
FINAL = ("store", "v1", "folder", "x")

faults = st.lists(st.sampled_from(Fault), max_size=14)
hosts = st.sampled_from(["a", "ab"])
presence = st.sampled_from(["no folder", "folder", "file", "file of the same size"])


def _server(there: str, injected: list[Fault]) -> tuple[Server, bytes | None]:
    server = Server()
    old = {"file": OLD, "file of the same size": NEW[::-1]}.get(there)
    if there != "no folder":
        server.add("store/v1/folder")
    if old is not None:
        server.tree[FINAL] = old
    server.fail(*injected)
    return server, old


def _watch(server: Server, *allowed: bytes | None) -> None:
    """After each request, also between two of one operation."""

    def watch() -> None:
        assert server.tree.get(FINAL) in allowed

    server.watch = watch


@given(faults, hosts, presence, st.booleans(), st.booleans())
@example([Fault.NONE, Fault.NONE, Fault.LOST], "a", "file of the same size", True, False)
@example([Fault.NONE, Fault.NONE, Fault.OUTAGE, Fault.LOST, Fault.OUTAGE], "ab", "file", False, False)
def test_upload_is_whole_or_not_there(
    injected: list[Fault], doors: str, there: str, has_checksums: bool, is_small: bool
) -> None:
    if not has_checksums and not is_small:  # only sizes are compared, and a wrong byte cannot be seen
        injected = [Fault.TRUNCATED if fault is Fault.FLIPPED else fault for fault in injected]
    server, old = _server(there, injected)
    server.has_checksums = has_checksums
    store = store_of(server, doors, Patience(total=40))
    final = store.root / "v1" / "folder" / "x"
    _watch(server, old, NEW)
    try:
        if is_small:
            store.write(final, NEW)
        else:
            with tempfile.TemporaryDirectory() as folder:
                staged = Path(folder) / "x"
                staged.write_bytes(NEW)
                store.publish(staged, final, len(NEW), f"{zlib.adler32(NEW):08x}")
                assert not staged.exists()
    except NotFoundError:
        pytest.fail("an outage looks like absence")
    except RemoteError:
        assert injected
        assert server.tree.get(FINAL) in (old, NEW)
    else:
        assert server.tree[FINAL] == NEW
    assert all(path[-1].startswith(".x.") for path in server.tree if path[:-1] == FINAL[:-1] and path != FINAL)


@given(faults, hosts, st.integers(0, 5))
def test_a_listing_is_complete_or_an_outage(injected: list[Fault], doors: str, number: int) -> None:
    server = Server()
    server.add("store/v1")
    for index in range(number):
        server.add(f"store/v1/{index}", b"x" * index)
    server.fail(*injected)
    store = store_of(server, doors, Patience(total=10))
    try:
        found = store.sizes(store.root / "v1")
    except OutageError:
        assert injected
    else:
        assert found == {f"{index}": index for index in range(number)}


@given(faults, hosts)
def test_a_local_copy_is_the_file_or_an_error(injected: list[Fault], doors: str) -> None:
    server, _ = _server("file", injected)
    store = store_of(server, doors, Patience(total=10))
    try:
        with store.localized(store.root / "v1" / "folder" / "x", len(OLD), f"{zlib.adler32(OLD):08x}") as path:
            assert path.read_bytes() == OLD
    except (OutageError, DamageError):
        assert injected


@given(st.lists(st.sampled_from([Fault.NONE, Fault.OUTAGE, Fault.LOST]), max_size=14), hosts, st.booleans())
def test_a_move_loses_no_file(injected: list[Fault], doors: str, has_folder: bool) -> None:
    server, _ = _server("file", injected)
    if has_folder:
        server.add("store/v2")
    server.watch = lambda: _one_of_both(server)
    store = store_of(server, doors, Patience(total=40))
    try:
        store.move(store.root / "v1" / "folder" / "x", store.root / "v2" / "y")
    except OutageError:
        assert injected
    else:
        assert server.file("store/v2/y") == OLD


def _one_of_both(server: Server) -> None:
    assert [server.tree.get(FINAL), server.file("store/v2/y")].count(OLD) == 1


@given(st.lists(st.sampled_from([Fault.NONE, Fault.OUTAGE, Fault.LOST]), max_size=8), hosts)
def test_what_is_removed_or_made_is_so_if_it_is_said(injected: list[Fault], doors: str) -> None:
    server, _ = _server("file", injected)
    store = store_of(server, doors, Patience(total=20))
    folder = store.root / "v1" / "folder"
    try:
        store.remove(folder / "x")
        assert FINAL not in server.tree
        store.remove_folder(folder)
        assert FINAL[:-1] not in server.tree
        store.make_folder(folder / "new")
        assert (*FINAL[:-1], "new") in server.tree
    except OutageError:
        assert injected
