"""law's targets on a toy server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.engine.storage import stores
from analysis.engine.storage.law_fs import target
from analysis.engine.storage.remote import RemoteStore
from tests.engine.storage.toy_server import ToyServer, toy_store


@pytest.fixture
def server(tmp_path: Path) -> ToyServer:
    (tmp_path / "server").mkdir()
    return ToyServer(tmp_path / "server")


@pytest.fixture
def store(server: ToyServer, monkeypatch: pytest.MonkeyPatch) -> RemoteStore:
    found = toy_store(server)
    monkeypatch.setattr(stores, "store_named", {"toy": found}.__getitem__)
    return found


def file(store: RemoteStore, path: str = "v1/a.json") -> Any:
    return target(store, store.root / path)


def folder(store: RemoteStore, path: str = "v1") -> Any:
    return target(store, store.root / path, is_folder=True)


def names(server: ToyServer) -> set[str]:
    return {path.relative_to(server.folder).as_posix() for path in server.folder.rglob("*")}
