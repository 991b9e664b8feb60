"""Manifests on servers are read once by a process, unless they change."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from luigi.task_register import Register

from analysis.engine.manifest import Manifest, ManifestName
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage.base import OutageError
from tests.engine.storage.toy_server import ToyServer, toy_store
from tests.engine.toys import Toy, run_all


@pytest.fixture
def server(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyServer]:  # noqa: ARG001
    """With a finished workflow; nobody has read a manifest of it."""
    (tmp_path / "server").mkdir()
    server = ToyServer(tmp_path / "server")
    writes, reads = toy_store(server), toy_store(server)
    chosen = [writes]
    monkeypatch.setattr("analysis.engine.placed.store_for", lambda _family: chosen[0])
    Register.clear_instance_cache()
    run_all(Toy())
    chosen[0] = reads
    Register.clear_instance_cache()
    server.asked.clear()
    yield server
    Register.clear_instance_cache()


def read_all() -> list[Manifest | None]:
    snapshot, branches = Snapshot(), list(Toy().branch_tasks())
    snapshot.read_manifests(branches)
    return [snapshot.manifest(branch) for branch in branches]


def test_each_manifest_is_read_once(server: ToyServer) -> None:
    first = read_all()
    assert None not in first
    assert server.asked["read"] == 3
    listed = server.asked["list"]
    assert read_all() == first
    assert server.asked["read"] == 3
    assert server.asked["list"] == 2 * listed  # what is there is asked each time
    assert Snapshot().required_manifest(Toy(branch=1)) == first[1]
    assert server.asked["read"] == 3


def test_manifest_that_was_written_again_is_read_again(server: ToyServer) -> None:
    first = read_all()
    (path,) = (path for path in server.folder.rglob("1.*.json") if ManifestName.parse(path.name))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1234", b"4321"))  # the same size
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 2))
    second = read_all()
    assert second[1] is not None
    assert first[1] is not None
    assert (first[1].accounting, second[1].accounting) == ({"events_out": 1234}, {"events_out": 4321})
    assert second[0] == first[0]
    assert server.asked["read"] == 4


def test_outage_is_no_absence_although_manifests_are_known(server: ToyServer) -> None:
    read_all()
    server.is_down = True
    with pytest.raises(OutageError):
        read_all()
