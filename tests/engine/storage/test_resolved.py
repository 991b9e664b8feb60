from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.engine.storage import settings, stores
from analysis.engine.storage.mirrored import MirroredStore
from analysis.engine.storage.remote import RemoteStore
from analysis.engine.storage.resolved import Resolved, is_mixed, local_root, resolved
from analysis.engine.storage.settings import Choice
from analysis.engine.storage.stores import store_for
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]


@pytest.fixture
def sections(
    store: Path,  # noqa: ARG001
    configure: Configure,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """Writes [outputs]; there is a section ``grid`` with a variable in its URL, and a local one ``disk_b``."""
    monkeypatch.setattr(settings, "_taken", None)
    monkeypatch.setenv("MY_NAME", "jane")
    configure(
        "grid",
        base="root://a//x/$MY_NAME, root://b//x/$MY_NAME",
        mirror=str(tmp_path / "mirror"),
        cache_root=str(tmp_path / "cache"),
        cache_max_size="5GB",
        job_patience="7min",
    )
    configure("disk_b", base=str(tmp_path / "b"), qos="FAST")
    return lambda **options: configure("outputs", **options)


def taken_elsewhere(found: Resolved, configure: Configure) -> None:
    """As on another machine, where the configuration says something else."""
    settings.take(Resolved.from_json(json.loads(json.dumps(found.to_json()))))
    configure("grid", base="root://elsewhere//$NOT_SET")
    configure("outputs", default="local, disk_b", A="wlcg, grid")
    configure("disk_b")


def test_store_is_the_same_elsewhere(
    sections: Callable[..., None], configure: Configure, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sections(**{"default": "wlcg, grid", "A": "local", "Plot*": "wlcg_mirrored, grid", "B": "local, disk_b"})
    found = resolved(same_disks=True)
    assert Resolved.from_json(json.loads(json.dumps(found.to_json()))) == found
    monkeypatch.setenv("MY_NAME", "john")
    taken_elsewhere(found, configure)
    remote = store_for("X")
    assert isinstance(remote, RemoteStore)
    assert [endpoint.base for endpoint in remote.endpoints.all] == ["root://a//x/jane", "root://b//x/jane"]
    assert store_for("A").kind == "local"
    mirrored = store_for("PlotFit")
    assert isinstance(mirrored, MirroredStore)
    assert mirrored.mirror.root == tmp_path / "mirror"
    assert (store_for("B").root, store_for("B").qos) == (tmp_path / "b", "FAST")
    assert settings.remote_settings("grid").job_patience == 420
    assert settings.is_store("disk_b")
    assert stores.store_named("grid").kind == "wlcg_mirrored"


def test_mirrors_stay_where_their_disks_are(sections: Callable[..., None]) -> None:
    sections(default="wlcg_mirrored, grid", B="local, disk_b")
    found = resolved(same_disks=False)
    assert found.outputs == {"default": Choice("wlcg", "grid"), "B": Choice("local", "disk_b")}
    assert found.remote["grid"].mirror is None


def test_disks(sections: Callable[..., None], tmp_path: Path) -> None:
    sections(default="wlcg, grid", B="local, disk_b")
    assert (local_root("X"), local_root("B"), is_mixed()) == (None, tmp_path / "b", True)
    sections(default="wlcg, grid")
    assert not is_mixed()
    sections(A="wlcg, grid")
    assert is_mixed()
    sections()
    assert (local_root("X"), is_mixed()) == (stores.local_store().root, False)
