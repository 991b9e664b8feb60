"""Removal, copies, moves and folders of law's targets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import law
import pytest

from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.base import OutageError
from analysis.engine.storage.law_fs import target
from analysis.engine.storage.mirrored import MirroredStore
from analysis.engine.storage.remote import RemoteStore
from tests.engine.storage.law_fs_toys import file, folder, names, server, store
from tests.engine.storage.toy_server import ToyServer, toy_store

__all__ = ["server", "store"]


def test_removal(store: RemoteStore, server: ToyServer) -> None:
    for path in ("v1/a.json", "v1/x/y/d.json"):
        file(store, path).dump(1)
    with pytest.raises(OSError, match="not empty"):
        folder(store, "v1/x").remove(recursive=False)
    folder(store, "v1/x").remove()
    assert names(server) == {"v1", "v1/a.json"}
    file(store).remove()
    file(store).remove()
    with pytest.raises(FileNotFoundError):
        file(store).remove(silent=False)


def test_copies(store: RemoteStore, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = toy_store(ToyServer(tmp_path / "other"), "other")
    one = file(store)
    one.dump(1)
    one.copy_to(file(other, "deep/b.json"))
    file(store, "v1/c.json").copy_from(one)
    one.copy_to("/v1/d.json")
    one.copy_to_local(tmp_path / "local.json")
    file(store, "v1/e.json").copy_from_local(tmp_path / "local.json")
    file(store, "v1/f.json").copy_from(law.LocalFileTarget(str(tmp_path / "local.json")))
    one.copy_to(law.LocalFileTarget(str(tmp_path / "new/local.json")))
    assert (tmp_path / "other/deep/b.json").read_text() == (tmp_path / "new/local.json").read_text() == "1"
    assert folder(store).listdir() == [f"{letter}.json" for letter in "acdef"]
    one.copy_to_local(tmp_path / "other")
    assert (tmp_path / "other/a.json").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        file(store, "nothing").copy_to_local(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    with pytest.raises(AddressError, match="hand over a target"):
        one.copy_to("root://elsewhere//x")
    assert one.load() == 1


def test_moves(store: RemoteStore, server: ToyServer, tmp_path: Path) -> None:
    one, two = file(store), file(store, "v2/b.json")
    one.dump(1)
    server.asked.clear()
    one.move_to(two)
    assert server.asked["upload"] == server.asked["download"] == 0
    assert (one.exists(), two.load()) == (False, 1)
    two.move_to_local(tmp_path / "local.json")
    assert not two.exists()
    one.move_from_local(tmp_path / "local.json")
    assert one.load() == 1
    assert not (tmp_path / "local.json").exists()


def test_folders(store: RemoteStore, tmp_path: Path) -> None:
    for path in ("v1/a.json", "v1/x/b.json"):
        file(store, path).dump(path)
    all_, other = folder(store), folder(store, "v2")
    all_.copy_to(other)
    assert other.child("x/b.json", type="f").load() == "v1/x/b.json"
    all_.copy_to_local(tmp_path / "local")
    assert (tmp_path / "local/x/b.json").is_file()
    folder(store, "v3").copy_from_local(tmp_path / "local")
    folder(store, "v3").move_to(folder(store, "v4"))
    assert not folder(store, "v3").exists()
    assert folder(store, "v4").glob("*/*") == ["x/b.json"]
    with pytest.raises(AddressError, match="into itself"):
        all_.copy_to(folder(store, "v1/x"))
    with all_.localize("r") as local:
        assert sorted(local.listdir()) == ["a.json", "x"]
    with all_.localize("w") as local:
        local.child("new.json", type="f").dump(1)
    assert all_.listdir() == ["new.json"]
    with all_.localize("a") as local:
        local.child("more.json", type="f").dump(1)
    assert all_.listdir() == ["more.json", "new.json"]


def test_folder_is_not_emptied_before_the_new_one_is_there(store: RemoteStore, server: ToyServer) -> None:
    file(store).dump(1)
    with pytest.raises(OutageError), folder(store).localize("w") as local:  # noqa: PT012
        local.child("new.json", type="f").dump(1)
        server.down_for = {"upload"}
    server.down_for = set()
    assert folder(store).listdir() == ["a.json"]


def test_folder_where_a_file_should_be(store: RemoteStore, server: ToyServer) -> None:
    (server.folder / "v1/a.json").mkdir(parents=True)
    one = file(store)
    with pytest.raises(IsADirectoryError):
        one.dump(1)
    with pytest.raises(IsADirectoryError):
        one.load()
    assert (server.folder / "v1/a.json").is_dir()


def test_mirrored(store: RemoteStore, server: ToyServer, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    both = MirroredStore(store, mirror)
    one = target(both, both.root / "v1/a.json")
    one.dump(1)
    assert (mirror / "v1/a.json").read_text() == (server.folder / "v1/a.json").read_text() == "1"
    assert one.load() == 1
    (mirror / "v1/a.json").write_text("2")  # somebody's
    assert one.load() == 1
    (server.folder / "v1/a.json").unlink()
    assert not one.exists()
    server.is_down = True
    with pytest.raises(OutageError):
        one.exists()
    server.is_down = False
    one.dump(3)
    all_ = target(both, both.root / "v1", is_folder=True)
    assert all_.listdir() == all_.glob("*") == ["a.json"]
    one.remove()
    assert not one.exists()
    assert not (mirror / "v1/a.json").exists()


def test_law_is_silent_and_has_no_cache_of_its_own(tmp_path: Path) -> None:
    config = tmp_path / "law.cfg"
    config.write_text(f"[wlcg_fs]\nbase: root://host//x\ncache_root: {tmp_path / 'cache'}\ncache_max_size: 1GB\n")
    done = subprocess.run(
        [sys.executable, "-c", "import analysis.engine.storage.law_fs, law; print(law.wlcg.WLCGFileSystem)"],
        env={"PYTHONPATH": str(Path(__file__).parents[3]), "LAW_CONFIG_FILE": str(config), "LAW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout == "<class 'law.contrib.wlcg.target.WLCGFileSystem'>\n"
    assert not (tmp_path / "cache").exists()
