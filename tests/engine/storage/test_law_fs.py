from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import law
import pytest

from analysis.engine.storage import law_interface
from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.base import DamageError, OutageError
from analysis.engine.storage.cache import Cache
from analysis.engine.storage.law_fs import address_of_remote, target
from analysis.engine.storage.local import LocalStore
from analysis.engine.storage.mirrored import MirroredStore
from analysis.engine.storage.remote import RemoteStore
from tests.engine.storage.law_fs_toys import file, folder, names, server, store
from tests.engine.storage.toy_server import ToyServer, toy_store

__all__ = ["server", "store"]


def test_kinds(store: RemoteStore, tmp_path: Path) -> None:
    local = LocalStore(tmp_path)
    assert type(target(local, tmp_path / "a")) is law.LocalFileTarget
    assert type(target(local, tmp_path / "a", is_folder=True)) is law.LocalDirectoryTarget
    assert isinstance(file(store), law.wlcg.WLCGFileTarget)
    assert isinstance(folder(store), law.wlcg.WLCGDirectoryTarget)
    mirrored = target(MirroredStore(store, tmp_path), store.root / "a")
    assert isinstance(mirrored, law.MirroredFileTarget)
    assert mirrored.local_target.path == str(tmp_path / "a")
    assert address_of_remote(file(store)) == store.root / "v1/a.json"


def test_one_file_system_per_store(store: RemoteStore) -> None:
    found = {id(target(store, store.root / str(i)).fs) for i in range(100)}
    assert found == {id(law_interface.file_system(store))}
    assert file(store).parent.fs is file(store).fs is folder(store).child("x", type="f").fs


def test_pickle_copy_and_fork(store: RemoteStore) -> None:
    one = file(store)
    one.dump([1])
    assert pickle.loads(pickle.dumps(one)).fs is one.fs
    assert copy.deepcopy(one).fs is one.fs
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_load, (one,)) == [1]


def _load(one: Any) -> Any:
    return one.load()


def test_load_and_dump(store: RemoteStore, server: ToyServer) -> None:
    one = file(store)
    assert not one.exists()
    one.dump({"x": 1}, indent=1)
    assert one.exists()
    assert one.load() == {"x": 1}
    assert one.stat().st_size == 11
    assert names(server) == {"v1", "v1/a.json"}
    assert server.asked["download"] == 1


def test_dump_does_not_download_what_it_replaces(store: RemoteStore, server: ToyServer) -> None:
    one = file(store)
    one.dump(1)
    one.dump(2)
    assert server.asked["download"] == 0
    assert one.load() == 2


CALLS: dict[str, Callable[[Any, Any, Path], object]] = {
    "exists": lambda one, _all, _tmp: one.exists(),
    "complete": lambda one, _all, _tmp: one.complete(),
    "stat": lambda one, _all, _tmp: one.stat(),
    "status": lambda one, _all, _tmp: one.status_text(),
    "load": lambda one, _all, _tmp: one.load(),
    "dump": lambda one, _all, _tmp: one.dump(2),
    "remove": lambda one, _all, _tmp: one.remove(),
    "touch": lambda one, _all, _tmp: one.touch(),
    "down": lambda one, _all, tmp: one.copy_to_local(tmp / "new"),
    "up": lambda one, _all, tmp: one.copy_from_local(tmp / "local.json"),
    "move_up": lambda one, _all, tmp: one.move_from_local(tmp / "local.json"),
    "move_down": lambda one, _all, tmp: one.move_to_local(tmp / "new"),
    "exists_folder": lambda _one, all_, _tmp: all_.exists(),
    "listdir": lambda _one, all_, _tmp: all_.listdir(),
    "listdir_type": lambda _one, all_, _tmp: all_.listdir(type="f"),
    "walk": lambda _one, all_, _tmp: list(all_.walk()),
    "glob": lambda _one, all_, _tmp: all_.glob("*.json"),
    "child": lambda _one, all_, _tmp: all_.child("a.json"),
    "remove_folder": lambda _one, all_, _tmp: all_.remove(),
    "copy_folder": lambda _one, all_, tmp: all_.copy_to_local(tmp / "new"),
    "collection": lambda one, _all, _tmp: law.SiblingFileCollection([one]).exists(),
    "count": lambda one, _all, _tmp: law.SiblingFileCollection([one]).count(),
}


@pytest.mark.parametrize("call", CALLS)
def test_an_outage_is_never_absence(store: RemoteStore, server: ToyServer, tmp_path: Path, call: str) -> None:
    one = file(store)
    one.dump(1)
    (tmp_path / "local.json").write_text("3")
    server.is_down = True
    with pytest.raises(OutageError, match="connection refused"):
        CALLS[call](one, folder(store), tmp_path)
    server.is_down = False
    assert one.load() == 1
    assert (tmp_path / "local.json").read_text() == "3"
    assert not (tmp_path / "new").is_file()
    assert names(server) == {"v1", "v1/a.json"}


@pytest.mark.parametrize("operation", ["upload", "checksum", "rename"])
def test_outage_in_the_middle_of_an_upload(store: RemoteStore, server: ToyServer, operation: str) -> None:
    one = file(store)
    one.dump(1)
    server.down_for = {operation}
    with pytest.raises(OutageError):
        one.dump(2)
    server.down_for = set()
    assert one.load() == 1
    assert folder(store).listdir() == ["a.json"]


def test_damaged_upload_is_never_an_output(store: RemoteStore, server: ToyServer) -> None:
    server.cuts = True
    one = file(store)
    with pytest.raises(DamageError):
        one.dump("x" * 100)
    assert not one.exists()
    assert names(server) == {"v1"}


def test_upload_under_way_is_not_listed(store: RemoteStore, server: ToyServer) -> None:
    one = file(store)
    one.dump(1)
    (server.folder / "v1/.b.json.host-1-xabc.part").write_text("{")
    (server.folder / "v1/manifests").mkdir()
    (server.folder / "v1/manifests/.1.lock").mkdir()
    all_ = folder(store)
    assert all_.listdir() == ["a.json", "manifests"]
    assert [found[1:3] for found in all_.walk()] == [(["manifests"], ["a.json"]), ([], [])]
    assert all_.glob("*") == ["a.json", "manifests"]


@pytest.mark.parametrize("how", ["with", "close"])
def test_open_to_write(store: RemoteStore, server: ToyServer, how: str) -> None:
    one = file(store, "v1/a.txt")
    if how == "with":
        with one.open("w") as stream:
            stream.write("text")
            assert names(server) == set()
    else:
        stream = one.open("w")
        stream.write("text")
        stream.close()
    with one.open("r") as stream:
        assert stream.read() == "text"
    with one.open("a") as stream:
        stream.write(" more")
    assert one.load() == "text more"


@pytest.mark.parametrize("way", ["open", "localize"])
def test_error_while_writing_keeps_what_was_there(store: RemoteStore, way: str) -> None:
    one = file(store)
    one.dump(1)
    with pytest.raises(ZeroDivisionError):  # noqa: SIM117, PT012
        with one.open("w") if way == "open" else one.localize("w") as stream:
            stream.write("half") if way == "open" else Path(stream.path).write_text("half")
            _ = 1 / 0
    assert one.load() == 1


def test_localize(store: RemoteStore, server: ToyServer) -> None:
    one = file(store, "v1/a.txt")
    with pytest.raises(FileNotFoundError), one.localize("r"):
        pass
    with pytest.raises(FileNotFoundError, match="nothing was written"), one.localize("w"):
        pass
    with one.localize("w") as local:
        assert local.basename == "a.txt"
        local.dump("one")
    with one.localize("a") as local:
        assert local.load() == "one"
        local.dump("two")
    with one.localize("r") as local:
        assert local.load() == "two"
    assert not local.exists()
    with pytest.raises(ValueError, match="none of r, w and a"), one.localize("x"):
        pass
    assert names(server) == {"v1", "v1/a.txt"}


def test_reading_by_the_cache(server: ToyServer, tmp_path: Path) -> None:
    one = file(toy_store(server, "cached", Cache(tmp_path / "cache", 10**6)))
    one.dump(1)
    assert [one.load(), one.load()] == [1, 1]
    assert server.asked["download"] == 1
    one.dump(2)
    assert one.load() == 2


def test_reading_without_checksums(store: RemoteStore, server: ToyServer) -> None:
    server.has_checksums = False
    one = file(store)
    one.dump([1])
    assert one.load() == [1]


@pytest.mark.parametrize(
    "path", ["/../x", "../x", "v1/../../x", "v1/..", "/v1/%2e%2e/x", "v1/%252e%252e/x", "a%2fb", "a\nb", "$HOME/x"]
)
def test_path_never_leads_out(store: RemoteStore, server: ToyServer, path: str) -> None:
    (server.folder.parent / "x").write_text("not in the store")
    one = file(store)
    with pytest.raises(AddressError):
        type(one)(path, one.fs)
    with pytest.raises(AddressError):
        folder(store, "").child(path, type="f")
    if "$" not in path:
        for ask in (one.fs.exists, one.fs.stat, one.fs.listdir, one.fs.remove, one.fs.mkdir):
            with pytest.raises(AddressError):
                ask(path)


@pytest.mark.parametrize("path", ["", "/", "//"])
def test_the_root_is_never_removed(store: RemoteStore, server: ToyServer, path: str) -> None:
    file(store).dump(1)
    for remove in (folder(store, "").remove, lambda: file(store).fs.remove(path)):
        with pytest.raises(AddressError, match="never removed"):
            remove()
    assert names(server) == {"v1", "v1/a.json"}


def test_names_with_special_characters(store: RemoteStore) -> None:
    for name in ("a b.json", "a#1.json", "a+ü.json", "~x.json", "a%41.json", "100%.json"):
        one = file(store, f"v1/{name}")
        one.dump(name)
        assert one.load() == name
        assert name in folder(store).listdir()


def test_listing(store: RemoteStore, server: ToyServer) -> None:
    for path in ("v1/a.json", "v1/b.txt", "v1/x/c.json", "v1/x/y/d.json", "v2/a.json"):
        file(store, path).dump(1)
    all_ = folder(store)
    server.asked.clear()
    assert all_.listdir() == ["a.json", "b.txt", "x"]
    assert all_.listdir(type="f") == ["a.json", "b.txt"]
    assert all_.listdir(type="d") == ["x"]
    assert all_.listdir(pattern="*.json") == ["a.json"]
    assert server.asked == {"list": 4}
    assert list(all_.walk()) == [
        ("/v1", ["x"], ["a.json", "b.txt"], 0),
        ("/v1/x", ["y"], ["c.json"], 1),
        ("/v1/x/y", [], ["d.json"], 2),
    ]
    assert len(list(all_.walk(max_depth=0))) == 1
    assert all_.glob("*/*.json") == ["x/c.json"]
    assert all_.glob("a.json") == ["a.json"]
    assert all_.glob("no*") == all_.glob("nothing") == all_.glob("a.json/*") == []
    assert all_.fs.glob("/v*/a.json") == ["/v1/a.json", "/v2/a.json"]
    assert all_.child("a.json").type == "f"
    assert all_.child("x").type == "d"
    with pytest.raises(FileNotFoundError):
        folder(store, "v3").listdir()
    with pytest.raises(NotADirectoryError):
        folder(store, "v1/a.json").listdir()


def test_collection_of_a_thousand_asks_twice(store: RemoteStore, server: ToyServer) -> None:
    (server.folder / "v1").mkdir()
    for number in range(0, 1000, 2):
        (server.folder / f"v1/{number}.json").write_text("1")
    server.asked.clear()
    collection = law.SiblingFileCollection([file(store, f"v1/{number}.json") for number in range(1000)])
    assert collection.count() == 500
    assert server.asked.total() <= 2
