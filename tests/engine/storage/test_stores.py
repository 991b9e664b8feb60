from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from analysis.engine.errors import ParameterError
from analysis.engine.storage.addresses import AddressError
from analysis.engine.storage.local import LocalStore
from analysis.engine.storage.mirrored import MirroredStore
from analysis.engine.storage.remote import RemoteStore
from analysis.engine.storage.stores import find, local_store, store_for, store_named
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]


@pytest.fixture
def grid(store: Path, configure: Configure, tmp_path: Path) -> Callable[..., None]:  # noqa: ARG001
    """Writes [outputs]; there is a section ``grid``, a local one ``disk_b``, and ``ANALYSIS_STORE``."""
    configure("grid", base="root://a//x, root://b//x", mirror=str(tmp_path / "mirror"), qos="CHEAP", connections="3")
    configure("disk_b", base=str(tmp_path / "b"), qos="FAST")
    return lambda **options: configure("outputs", **options)


def test_one_object_per_store(grid: Callable[..., None]) -> None:
    grid(default="local", A="wlcg, grid", B="wlcg, grid", C="wlcg_mirrored, grid", D="local, disk_b")
    assert store_for("X") is store_for("Y") is local_store() is store_named("local")
    assert store_for("A") is store_for("B")
    mirrored = store_for("C")
    assert isinstance(mirrored, MirroredStore)
    assert mirrored.remote is store_for("A")
    assert store_for("D") is store_named("disk_b")
    assert (store_for("D").name, store_for("D").qos, store_for("D").kind) == ("disk_b", "FAST", "local")


def test_settings_reach_the_store(grid: Callable[..., None], tmp_path: Path) -> None:
    grid(default="wlcg, grid")
    remote = store_for("X")
    assert isinstance(remote, RemoteStore)
    assert [endpoint.base for endpoint in remote.endpoints.all] == ["root://a//x", "root://b//x"]
    assert (remote.name, remote.qos, remote.connections, remote.kind) == ("grid", "CHEAP", 3, "wlcg")
    assert remote.root == PurePosixPath("grid:")
    grid(default="wlcg_mirrored, grid")
    mirrored = store_for("X")
    assert isinstance(mirrored, MirroredStore)
    assert mirrored.mirror.root == tmp_path / "mirror"
    assert mirrored.root == remote.root


def test_named_store_is_the_mirrored_one_if_there_is_one(grid: Callable[..., None]) -> None:
    grid(default="wlcg, grid")
    assert store_named("grid").kind == "wlcg"
    grid(default="wlcg, grid", B="wlcg_mirrored, grid")
    assert store_named("grid").kind == "wlcg_mirrored"
    grid(default="local")
    assert store_named("grid").kind == "wlcg"  # for people; no task uses it


@pytest.mark.parametrize("name", ["nowhere", "batch", "local_fs", "", "a b"])
def test_unknown_store_is_one_sentence(grid: Callable[..., None], name: str) -> None:
    grid(default="wlcg, grid")
    with pytest.raises(ParameterError, match=r"^there is no store '.*': law\.cfg has local, grid; add a section"):
        store_named(name)


def test_addresses_are_found(grid: Callable[..., None], store: Path, tmp_path: Path) -> None:
    grid(default="local", B="wlcg, grid", C="local, disk_b")
    assert find("grid:/v1/A b") == (store_for("B"), PurePosixPath("grid:/v1/A b"))
    assert find("grid:") == (store_for("B"), PurePosixPath("grid:"))
    found, path = find(f"{store}/v1/../v2")
    assert (found, path, type(path)) == (local_store(), store / "v2", type(store))
    assert find(str(tmp_path / "b" / "x")) == (store_for("C"), tmp_path / "b" / "x")
    assert find("local:/v1/x") == (local_store(), store / "v1" / "x")
    assert find(str(store)) == (local_store(), store)


def test_relative_paths_are_of_the_current_directory(
    grid: Callable[..., None], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid()
    (store / "v1").mkdir(parents=True)
    monkeypatch.chdir(store / "v1")
    assert find("x") == (local_store(), store / "v1" / "x")
    assert find("..") == (local_store(), store)


@pytest.mark.parametrize(
    "address", ["{}/../x", "/", "{}/../store_b/x", "{}/link/x", "{}/link", "a\0b", "root://a//x/v1"]
)
def test_what_is_in_no_store_is_refused(grid: Callable[..., None], store: Path, tmp_path: Path, address: str) -> None:
    grid(default="wlcg, grid")
    store.mkdir()
    (store / "link").symlink_to(tmp_path)
    with pytest.raises(AddressError):
        find(address.format(store))


@pytest.mark.parametrize(
    "address", ["grid:/../x", "grid:/v1/%2e%2e/x", "grid://x", "grid:x", "grid:/a//b", "local:/../x"]
)
def test_unsafe_addresses_are_refused(grid: Callable[..., None], address: str) -> None:
    grid(default="wlcg, grid")
    with pytest.raises(AddressError):
        find(address)


def test_without_a_local_store(grid: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    grid(default="wlcg, grid")
    monkeypatch.delenv("ANALYSIS_STORE")
    assert store_for("X").kind == "wlcg"
    assert find("grid:/x")[0] is store_for("X")
    with pytest.raises(AddressError, match=r"\$ANALYSIS_STORE, which is not set"):
        find("/data/x")
    grid(default="local")
    with pytest.raises(ParameterError, match=r"^ANALYSIS_STORE is not set: source setup\.sh first$"):
        store_for("X")


def test_importing_stores_imports_neither_law_nor_a_client_library() -> None:
    code = (
        "import sys\n"
        "import analysis.engine.storage.stores, analysis.engine.storage.remote, analysis.engine.storage.mirrored\n"
        "print({'law', 'luigi', 'XRootD', 'gfal2', 'fsspec', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_local_store_is_the_one_of_the_engine(store: Path) -> None:
    found = local_store()
    assert isinstance(found, LocalStore)
    assert found.root == store
