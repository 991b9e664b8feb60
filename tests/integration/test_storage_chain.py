"""Chains whose outputs are on servers, run on this machine: what comes out is what a run with local outputs makes."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from analysis.engine.manifest import Manifest
from tests.chain import REPOSITORY, Law
from tests.integration.results import check_clean, check_same, check_same_content
from tests.integration.storage_fixtures import storage
from tests.integration.test_concurrent import done, manifests
from tests.testbed.storage import ROOT, TOKEN, WAYS, Protocol, Storage, Way

__all__ = ["storage"]

pytestmark = pytest.mark.integration

WRITES = frozenset({"write", "mv", "rm", "rmdir", "mkdir"})
"""Requests that change something."""
ALL_REMOTE = {"default": "wlcg, wlcg_fs"}
SHORT = ("PlotCutflow",)
USUAL = [ROOT, TOKEN]
OTHERS = [way for way in WAYS if way not in USUAL]
"""How the whole chain goes only if all combinations are asked for."""
ONE_DATASET = ("MergeHistograms", "--dataset", "wjets")


@dataclass(frozen=True)
class Site(Law):
    """Runs ``law`` with a store on a server.

    Args:
        storage: all servers.
        server: that has it.
        name: of its folder there.
        settings: section ``wlcg_fs`` of ``law.cfg``, and what goes where.
        credential: of the user, see :meth:`Storage.credential`.
    """

    storage: Storage
    server: str
    name: str
    settings: Mapping[str, str]
    outputs: Mapping[str, str] = field(default_factory=lambda: ALL_REMOTE)
    credential: str | None = None

    @property
    def disk(self) -> Path:
        """Where the server has it."""
        return self.storage.folder(self.server) / self.name

    @property
    def made(self) -> dict[str, Manifest]:
        """All manifests on the server."""
        return manifests(self.disk)

    def environment(self) -> dict[str, str]:
        usual = super().environment()
        usual = {name: value for name, value in usual.items() if not name.startswith(("X509_", "BEARER_", "LAW_"))}
        variables = self.storage.environment(self.credential)
        search = f"{self.storage.bindings}{os.pathsep}{REPOSITORY}"
        places = {"LAW_HOME": str(self.home), "LAW_CONFIG_FILE": str(self.configuration()), "PYTHONPATH": search}
        return {**usual, **variables, **places, "ANALYSIS_PROFILE": "local"}

    def configuration(self) -> Path:
        """``law.cfg`` with these settings."""
        config = ConfigParser(interpolation=None, allow_no_value=True)
        config.optionxform = str  # type: ignore[assignment,method-assign]
        config.read(REPOSITORY / "law.cfg")
        config["core"]["extend"] = str(REPOSITORY / "profiles" / "local.cfg")
        config.read_dict({"outputs": self.outputs, "wlcg_fs": self.settings})
        path = self.home / "law.cfg"
        with path.open("w") as file:
            config.write(file)
        return path

    @contextmanager
    def counted(self) -> Iterator[Counter[str]]:
        """Requests during a ``with`` block, by kind; to be looked at after it."""
        mark, requests = self.storage.mark(self.server), Counter[str]()
        yield requests
        requests.update(self.storage.requests(mark))


@contextmanager
def site(
    storage: Storage,
    folder: Path,
    protocol: Protocol,
    credential: str | None = None,
    outputs: Mapping[str, str] = ALL_REMOTE,
    **settings: str,
) -> Iterator[Site]:
    """An empty store, removed in the end, for a user without a local one."""
    server = "xrd-auth" if credential else "xrd-open"
    name = f"chain-{secrets.token_hex(6)}"
    storage.scratch(server, name)
    home = folder / "law_home"
    home.mkdir(parents=True)
    base = storage.url(server, protocol, name)
    here = Site(folder / "store", home, storage, server, name, {"base": base, **settings}, outputs, credential)
    try:
        yield here
    finally:
        shutil.rmtree(here.disk)


# the whole chain


@dataclass(frozen=True)
class Chain:
    """A finished ``Report``."""

    site: Site
    said: str
    seconds: float
    requests: Counter[str]
    made: dict[str, Manifest]


@pytest.fixture(
    scope="module",
    params=[*USUAL, *(pytest.param(other, marks=pytest.mark.exhaustive) for other in OTHERS)],
    ids=str,
)
def chain(
    request: pytest.FixtureRequest, storage: Storage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Chain]:
    """``law run Report --workers 2``."""
    with site(storage, tmp_path_factory.mktemp("chain"), *request.param) as here:
        begin = time.monotonic()
        with here.counted() as requests:
            finished = here.succeed("Report", "--workers", "2")
        yield Chain(here, finished.stdout + finished.stderr, time.monotonic() - begin, requests, here.made)


def test_chain_makes_what_a_local_one_makes(chain: Chain, demo_store: Path) -> None:
    assert "v1/demo/Report#None" in chain.made
    assert check_same(chain.made, manifests(demo_store)) > 500
    families = {manifest.task.rpartition(".")[2] for manifest in chain.made.values()}
    assert {"MergeHistograms", "TrainModel", "FitModel", "PlotFit", "Report"} <= families
    check_same_content(chain.made, chain.site.disk, demo_store)
    check_clean(chain.site.disk)
    assert not chain.site.store.exists()


def test_chain_says_nothing_of_servers(chain: Chain) -> None:
    """No request failed, none was repeated; and the result is told, after all else has ended."""
    assert "wlcg_fs" not in chain.said.replace("wlcg_fs:/", ""), chain.said
    assert "Traceback" not in chain.said
    assert len(set(done(chain.said))) == len(chain.made)


def test_requests_per_branch(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    per_branch = chain.requests.total() / len(chain.made)
    with capsys.disabled():
        print(
            f"\n{chain.site.settings['base']}: {len(chain.made)} branches in {chain.seconds:.0f} s, "
            f"{per_branch:.0f} requests each: {dict(chain.requests)}"
        )
    assert per_branch < 90


def test_second_run_does_nothing(chain: Chain) -> None:
    with chain.site.counted() as requests:
        finished = chain.site.succeed("Report")
    assert done(finished.stderr) == []
    assert not WRITES & requests.keys()
    folders = {path.parent for path in chain.site.disk.rglob("*") if path.is_file()}
    assert requests.total() < 2 * len(folders)
    assert chain.site.made == chain.made


def test_all_is_current(chain: Chain) -> None:
    said = chain.site.succeed("Report", "--print-status", "all").stdout
    assert said.splitlines()[-1] == f"{len(chain.made)} current, 0 stale, 0 missing"


# parts of it


@pytest.mark.parametrize("way", OTHERS, ids=str)
def test_front_of_the_chain(storage: Storage, tmp_path: Path, demo_store: Path, way: Way) -> None:
    with site(storage, tmp_path, *way) as here:
        here.succeed(*ONE_DATASET)
        assert check_same(here.made, manifests(demo_store)) > 10
        assert not here.store.exists()
        check_clean(here.disk)


@pytest.mark.parametrize("interface", ["xrootd", "gfal2", "fsspec"])
def test_client_libraries_make_the_same(storage: Storage, tmp_path: Path, demo_store: Path, interface: str) -> None:
    """And what one has written is there for the others."""
    if interface == "gfal2" and not any((storage.bindings / f"gfal2{end}").exists() for end in EXTENSION_SUFFIXES):
        pytest.skip("there is no gfal2 for this version of Python")
    with site(storage, tmp_path, "root", interface=interface) as here:
        here.succeed(*SHORT)
        made = here.made
        assert check_same(made, manifests(demo_store)) > 10
        check_clean(here.disk)
        for other, scheme in (("xrootd", "root"), ("fsspec", "root"), ("fsspec", "davs")):
            base = storage.url(here.server, scheme, here.name)  # type: ignore[arg-type]
            again = Site(**{**vars(here), "settings": {"base": base, "interface": other}})
            assert done(again.succeed(*SHORT).stderr) == []
        assert here.made == made


def test_outputs_in_several_places(storage: Storage, tmp_path: Path, demo_store: Path) -> None:
    outputs = {"default": "local", "SelectEvents": "wlcg, wlcg_fs", "Plot*": "wlcg_mirrored, wlcg_fs"}
    mirror = tmp_path / "mirror"
    with site(storage, tmp_path, "root", outputs=outputs, mirror=str(mirror)) as here:
        here.succeed(*SHORT)
        remote, local, mirrored = here.made, manifests(here.store), manifests(mirror)
        assert {key.split("/")[2].partition("#")[0] for key in remote} == {"SelectEvents", "PlotCutflow"}
        assert not remote.keys() & local.keys()
        assert mirrored == {key: manifest for key, manifest in remote.items() if "PlotCutflow" in key}
        assert check_same({**remote, **local}, manifests(demo_store)) > 10
        assert done(here.succeed(*SHORT).stderr) == []


def test_mirror_is_a_store(storage: Storage, tmp_path: Path) -> None:
    """With ``default: local`` and the mirror as ``ANALYSIS_STORE``, nothing is to be done."""
    mirror = tmp_path / "mirror"
    with site(storage, tmp_path, "root", outputs={"default": "wlcg_mirrored, wlcg_fs"}, mirror=str(mirror)) as here:
        here.succeed(*SHORT)
        made = here.made
    assert manifests(mirror) == made
    local = Law(mirror, here.home)
    assert done(local.succeed(*SHORT).stderr) == []
    said = local.succeed(*SHORT, "--print-status", "all").stdout
    assert said.splitlines()[-1] == f"{len(made)} current, 0 stale, 0 missing"
    assert manifests(mirror) == made


def test_result_is_told_after_a_request_at_the_very_end(storage: Storage, tmp_path: Path) -> None:
    """XRootD's client stops its threads when Python ends; a request after that would wait forever."""
    with site(storage, tmp_path, "root") as here:
        code = (
            "import atexit, sys\n"
            "from analysis.engine.storage import closing\n"
            "from analysis.engine.storage.interfaces import interface_for\n"
            "url = sys.argv[1]\n"
            "closing.install()\n"
            "atexit.register(lambda: print(interface_for('root', 'xrootd').list(url)))\n"
            "assert interface_for('root', 'xrootd').stat(url).is_folder\n"
        )
        finished = subprocess.run(
            [here.command("x")[0], "-c", code, here.settings["base"]],
            env=here.environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (finished.returncode, finished.stdout) == (0, "[]\n"), finished.stderr
