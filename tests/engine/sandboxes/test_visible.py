"""What of this machine is visible in a container."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from law.config import Config

from analysis.engine.errors import ParameterError
from analysis.engine.sandboxes.base import SandboxError
from analysis.engine.sandboxes.docker import DockerSandbox
from analysis.engine.sandboxes.options import places_of
from analysis.engine.sandboxes.visible import REPOSITORY, mounts
from analysis.engine.task import AnalysisTask
from analysis.tasks import BuildModel, IndexFiles
from tests.engine.sandboxes.sandbox_toys import OutsideToy, SandboxToy
from tests.engine.sandboxes.test_settings import Write, config

__all__ = ["config"]

pytestmark = pytest.mark.usefixtures("store")

BOX = DockerSandbox("image")


class ReadingToy(SandboxToy):
    """Reads files of no store."""

    exclude_index = True
    reads: tuple[Path, ...] = ()

    def sandbox_paths(self) -> Iterable[Path]:
        return self.reads


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store; what is written and read is in ``tmp_path``."""
    for name in ("X509_USER_CERT", "X509_USER_KEY", "X509_CERT_DIR", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("store", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("ANALYSIS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LAW_HOME", str(tmp_path / "home"))
    return tmp_path / "store"


def seen(folder: Path, task: AnalysisTask | None = None, search: Iterable[str] = ()) -> dict[str, bool]:
    """Paths below a folder that are mounted, and whether they can be written."""
    found = mounts(task or SandboxToy(), BOX, search)
    paths = [mount.path for mount in found]
    assert paths == sorted(set(paths))  # what is in another one comes after it
    return {str(m.path.relative_to(folder)): m.writable for m in found if m.path.is_relative_to(folder)}


def reading(*paths: Path) -> ReadingToy:
    """A task that reads these."""
    task = ReadingToy()
    task.reads = paths
    return task


USUAL = {"home": True, "store": True}


def test_usual_places(tmp_path: Path) -> None:
    assert seen(tmp_path) == USUAL
    code = {m.path: m.writable for m in mounts(SandboxToy(), BOX, [])}
    assert code[REPOSITORY] is False


def test_a_store_that_is_not_there_yet_is_made(store: Path, tmp_path: Path) -> None:
    store.rmdir()
    assert seen(tmp_path) == USUAL
    assert store.is_dir()


def test_a_store_that_is_not_there_is_not_made_in_a_job(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outputs are on servers then."""
    store.rmdir()
    monkeypatch.setenv("ANALYSIS_JOB_BACKEND", "slurm")
    monkeypatch.setattr(OutsideToy, "output_paths", lambda _: ())
    assert seen(tmp_path, OutsideToy()) == {"home": True}
    assert not store.exists()


def test_code(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    assert seen(tmp_path, search=[str(tmp_path / "code")]) == {**USUAL, "code": False}


def test_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are renewed are copied."""
    for name in ("proxy", "key"):
        (tmp_path / name).touch()
    monkeypatch.setenv("X509_USER_PROXY", str(tmp_path / "proxy"))
    monkeypatch.setenv("X509_USER_KEY", str(tmp_path / "key"))
    monkeypatch.setenv("X509_USER_CERT", str(tmp_path / "is not there"))
    assert seen(tmp_path) == {**USUAL, "key": False}


def test_links(store: Path, tmp_path: Path) -> None:
    """A link is mounted as what it points to, which is there at its own place as well."""
    (tmp_path / "disk").mkdir()
    store.rmdir()
    store.symlink_to("disk")
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "broken").symlink_to("nowhere")
    task = reading(tmp_path / "link", tmp_path / "broken")
    assert seen(tmp_path, task) == {**USUAL, "disk": True, "data": False, "link": False}


def test_what_is_in_another_place(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (store / "home").mkdir()
    monkeypatch.setenv("LAW_HOME", str(store / "home"))
    assert seen(tmp_path) == {"store": True}


def test_read_only_in_writable(store: Path, tmp_path: Path) -> None:
    (store / "inputs").mkdir()
    assert seen(tmp_path, reading(store / "inputs")) == {**USUAL, "store/inputs": False}


def test_writable_in_read_only(tmp_path: Path) -> None:
    assert seen(tmp_path, reading(tmp_path)) == {".": False, **USUAL}


def test_writable_in_read_only_in_writable(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (store / "code" / "home").mkdir(parents=True)
    monkeypatch.setenv("LAW_HOME", str(store / "code" / "home"))
    found = seen(tmp_path, search=[str(store / "code")])
    assert found == {"store": True, "store/code": False, "store/code/home": True}


def test_both_ways_is_writable(store: Path, tmp_path: Path) -> None:
    assert seen(tmp_path, reading(store)) == USUAL


# law.cfg


def configured(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> dict[str, bool]:
    """What is seen of files of law; the first is the main one."""
    paths = [folder / name.replace("__", "/").replace("_cfg", ".cfg") for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    monkeypatch.setattr(Config.instance(), "config_file", str(paths[0]))
    return {name: rw for name, rw in seen(folder).items() if name not in USUAL}


def test_files_that_others_pull_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each counts from where it is named; one of them naming others does not hide those of the main one."""
    monkeypatch.setenv("TOY_PROFILE", "site")
    found = configured(
        tmp_path,
        monkeypatch,
        main_cfg="[core]\ninherit: base_{a,b}.cfg\nextend: profiles/$TOY_PROFILE.cfg, last.cfg, nowhere.cfg\n",
        base_a_cfg="",
        base_b_cfg="",
        profiles__site_cfg="[core]\nextend: other.cfg\n",
        profiles__other_cfg="",
        last_cfg="[core]\nextend:\n",
        unused_cfg="",
    )
    files = ("main", "base_a", "base_b", "profiles/site", "profiles/other", "last")
    assert found == dict.fromkeys([f"{name}.cfg" for name in files], False)


# sections of volumes


def test_volumes(tmp_path: Path, config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c", "d, ro"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("TOY_PLACE", str(tmp_path))
    config(
        "docker_sandbox_volumes",
        {str(tmp_path / "a"): "", str(tmp_path / "b"): "rw", "c": "$TOY_PLACE/c , rw", "d": "$TOY_PLACE/d, ro, ro"},
    )
    assert seen(tmp_path) == {**USUAL, "a": False, "b": True, "c": True, "d, ro": False}


def test_a_volume_that_is_not_there(tmp_path: Path, config: Write) -> None:
    config("docker_sandbox_volumes", {str(tmp_path / "conditoins"): "ro"})
    with pytest.raises(ParameterError, match=f"{tmp_path}/conditoins does not exist: correct it, or make it"):
        seen(tmp_path)
    assert not (tmp_path / "conditoins").exists()


# outputs


def outside(task: OutsideToy) -> list[str]:
    """Writable places of a task that writes elsewhere."""
    return [m.path.name for m in mounts(task, BOX, []) if m.writable]


def test_an_output_that_nobody_would_see(tmp_path: Path, config: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.setenv("TOY_OUTSIDE", str(place))
    for volumes in ({}, {str(place): "ro"}):
        config("docker_sandbox_volumes", volumes)
        with pytest.raises(SandboxError) as error:
            outside(OutsideToy())
        assert str(error.value) == (
            f"OutsideToy writes {place}/lost.txt, which docker::image does not see: "
            f"add '{place}: rw' to section docker_sandbox_volumes of law.cfg"
        )
    config("docker_sandbox_volumes", {str(place): "rw"})
    assert "elsewhere" in outside(OutsideToy())


# files of a campaign


def test_files_are_shown_by_their_directories(tmp_path: Path) -> None:
    folder, other = tmp_path / "data" / "a", tmp_path / "data" / "b"
    assert places_of([folder / "1.root", folder / "2.root", other / "1.root"]) == [folder, other]
    assert places_of([]) == []


def test_a_link_is_shown_with_what_it_leads_to(tmp_path: Path) -> None:
    for name in ("links", "disk"):
        (tmp_path / name).mkdir()
    (tmp_path / "disk" / "1.root").touch()
    (tmp_path / "links" / "1.root").symlink_to("../disk/1.root")
    assert places_of([tmp_path / "links" / "1.root"]) == [tmp_path / "disk", tmp_path / "links"]


@pytest.mark.parametrize("path", ["/1.root", "/tmp/1.root", "/var/tmp/1.root", "/dev/shm/1.root"])
def test_no_directory_of_an_image_is_hidden(path: str) -> None:
    assert places_of([Path(path)]) == [Path(path)]


def test_a_campaign_shows_its_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.root").touch()
    datasets = {"ttbar": {"cross_section": 1.0, "files": ["data/a.root", "root://host//b.root", "absent/c.root"]}}
    (tmp_path / "own.yaml").write_text(json.dumps({"name": "own", "luminosity": 1.0, "datasets": datasets}))
    task = IndexFiles(campaign=str(tmp_path / "own.yaml"), dataset="ttbar")
    assert set(task.sandbox_paths()) == {tmp_path / "data", tmp_path / "absent"}
    assert seen(tmp_path, task) == {"data": False, "home": True, "store": True}
    assert set(IndexFiles(campaign="demo", dataset="ttbar").sandbox_paths()) == set()


def test_published_histograms_are_shown(tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "histograms.json").write_text("{}")
    task = BuildModel(histograms=str(tmp_path / "published" / "histograms.json"))
    assert seen(tmp_path, task) == {"published": False, "home": True, "store": True}
