"""Input files on real servers: what is read, what it costs, and what happens when a server does not play along."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import awkward as ak
import law as law_package
import pytest

from analysis.columnar.sources import NanoAODSource, summarize_file
from analysis.engine.storage import reading, xcache
from analysis.engine.storage.base import DeniedError, FolderError, NotFoundError, OutageError, RemoteError
from analysis.engine.storage.reading import InputSettings, input_cache, open_root, opening
from analysis.tasks.index_files import opened_input
from tests.chain import Law
from tests.integration.conftest import write_campaign
from tests.testbed.faultproxy import FaultProxy
from tests.testbed.fixtures import storage
from tests.testbed.storage import Protocol, Storage

__all__ = ["storage"]

pytestmark = pytest.mark.integration

COLUMNS = ("Jet.pt", "Jet.eta", "Muon.pt", "genWeight", "GenPart.pdgId")
DIRECT = InputSettings("direct", timeout=5, patience=0)
PROTOCOLS: tuple[Protocol, ...] = ("root", "https", "davs")
NAME = "ttbar_1000.root"


@pytest.fixture(autouse=True)
def _environment(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trust in the testbed's certificates, no credential, no patience, and nothing known of caches."""
    for name, value in storage.variables.items():
        if not name.startswith("TESTBED_"):
            monkeypatch.setenv(name, value)
    for name in ("X509_USER_PROXY", "BEARER_TOKEN", "BEARER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(xcache, "_rests_until", {})
    xcache._configured.cache_clear()
    for section in ("inputs", "xcache"):
        law_package.config.remove_section(section)
        law_package.config.add_section(section)
    configure("inputs", patience="0", timeout="5")
    yield
    for section in ("inputs", "xcache"):
        law_package.config.remove_section(section)
    xcache._configured.cache_clear()


def configure(section: str, **options: str) -> None:
    for option, value in options.items():
        law_package.config.set(section, option, value)
    xcache._configured.cache_clear()


@pytest.fixture
def real(test_data: Path) -> Path:
    return test_data / "nanoaod" / NAME


@pytest.fixture
def folder(storage: Storage, real: Path) -> Path:
    """Folder of the open server that has a real file."""
    folder = storage.scratch("xrd-open", "reading")
    shutil.copyfile(real, folder / NAME)
    return folder


def columns(path: str) -> ak.Array:
    with opened_input(path) as opener:
        source = NanoAODSource(path, 100, 900, opener)
        return ak.Array(dict(source.read(COLUMNS)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_events_are_those_of_the_local_file(storage: Storage, folder: Path, real: Path, protocol: Protocol) -> None:
    url = storage.url("xrd-open", protocol, f"{folder.name}/{NAME}")
    with opening(url) as opener:
        assert summarize_file(url, opener) == summarize_file(str(real))
    assert ak.array_equal(columns(url), columns(str(real)), dtype_exact=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_only_what_is_needed_is_read_in_few_requests(storage: Storage, folder: Path, protocol: Protocol) -> None:
    with open_root(storage.url("xrd-open", protocol, f"{folder.name}/{NAME}"), DIRECT) as directory:
        directory["Events"].arrays(["Jet_pt", "Jet_eta"])
        remote = directory.file.source._remote
    assert remote.requests <= 5
    assert remote.fetched < 0.1 * (folder / NAME).stat().st_size


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_file_that_is_not_there_is_told(storage: Storage, folder: Path, protocol: Protocol) -> None:
    url = storage.url("xrd-open", protocol, f"{folder.name}/nowhere.root")
    with pytest.raises(NotFoundError, match=url):
        columns(url)


def test_folder_is_told(storage: Storage, folder: Path) -> None:
    with pytest.raises(FolderError, match="is a directory"):
        columns(storage.url("xrd-open", path=folder.name))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", [0, 300, 100_000, 3_030_881])
def test_truncated_file_is_told(storage: Storage, folder: Path, protocol: Protocol, size: int) -> None:
    with (folder / NAME).open("r+b") as file:
        file.truncate(size)
    sentence = "it is truncated, it has" if size else "it is empty"
    with pytest.raises(RemoteError, match=sentence):
        columns(storage.url("xrd-open", protocol, f"{folder.name}/{NAME}"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_server_that_is_down_is_an_outage(storage: Storage, folder: Path, protocol: Protocol) -> None:
    with FaultProxy(storage.port("xrd-open", protocol), refuse=True) as proxy:
        url = storage.url("xrd-open", protocol, f"{folder.name}/{NAME}", port=proxy.port)
        with pytest.raises(OutageError, match="nothing is known of what is there"):
            columns(url)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_connection_that_is_lost_in_the_middle_is_made_again(
    storage: Storage, folder: Path, real: Path, protocol: Protocol
) -> None:
    configure("inputs", patience="60", retry_delay="1")
    with FaultProxy(storage.port("xrd-open", protocol), reset_down=200_000) as proxy:
        url = storage.url("xrd-open", protocol, f"{folder.name}/{NAME}", port=proxy.port)
        assert ak.array_equal(columns(url), columns(str(real)), dtype_exact=True)
        assert proxy.counts().faults == 1


@pytest.mark.parametrize("protocol", ["https", "davs"])
def test_server_that_stops_answering_is_given_up(storage: Storage, folder: Path, protocol: Protocol) -> None:
    configure("inputs", timeout="2")
    with FaultProxy(storage.port("xrd-open", protocol), hang_down=200_000) as proxy:
        url = storage.url("xrd-open", protocol, f"{folder.name}/{NAME}", port=proxy.port)
        with pytest.raises(OutageError):
            columns(url)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_credentials_are_shown_and_refusals_told(
    storage: Storage, real: Path, protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = storage.scratch("xrd-auth", "reading")
    shutil.copyfile(real, folder / NAME)
    url = storage.url("xrd-auth", protocol, f"{folder.name}/{NAME}")
    with pytest.raises(DeniedError, match="look at your credential"):
        columns(url)
    if protocol != "root":  # its client keeps one connection per server, with the credential that it had first
        monkeypatch.setenv("X509_USER_PROXY", str(storage.credential("alice.proxy")))
        assert len(columns(url)) == 800
        monkeypatch.delenv("X509_USER_PROXY")
        monkeypatch.setenv("BEARER_TOKEN_FILE", str(storage.credential("read.token")))
        assert len(columns(url)) == 800


def test_server_with_a_certificate_that_nobody_trusts_is_told(
    storage: Storage, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("X509_CERT_DIR", str(tmp_path))
    with pytest.raises(RemoteError, match="its certificate is not trusted"):
        columns(storage.url("xrd-open", "https", f"{folder.name}/{NAME}"))


def test_cache_of_the_site_is_used_and_passed_when_it_is_down(
    storage: Storage, folder: Path, real: Path, caplog: pytest.LogCaptureFixture
) -> None:
    origin, path = storage.url("xrd-open"), f"{folder.name}/{NAME}"
    with FaultProxy(storage.port("xrd-cache")) as proxy:
        server = storage.url("xrd-cache", port=proxy.port).removesuffix("//store")
        configure("xcache", server=server, kind="fixed", origins=origin.removesuffix("//store"))
        expected = columns(str(real))
        for url in (f"{origin}/{path}", f"root://xcache//store/{path}"):
            assert ak.array_equal(columns(url), expected, dtype_exact=True)
        passed = proxy.counts()
        assert passed.down > 100_000
        proxy.set(refuse=True)
        for url in (f"{origin}/{path}", f"root://xcache//store/{path}"):
            assert ak.array_equal(columns(url), expected, dtype_exact=True)
        assert proxy.counts().down == passed.down
        assert caplog.text.count("is left alone for 300 s, files are read from their origin") == 1
        with pytest.raises(NotFoundError):
            columns(f"root://xcache//store/{folder.name}/nowhere.root")


def test_small_file_is_copied_once_if_there_is_a_cache(
    storage: Storage, folder: Path, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_caches", {})
    configure("inputs", cache_root=str(tmp_path / "cache"), cache_max_size="10MB")
    url = storage.url("xrd-open", path=f"{folder.name}/{NAME}")
    for _ in range(3):
        assert ak.array_equal(columns(url), columns(str(real)), dtype_exact=True)
    cache = input_cache()
    assert cache is not None
    assert cache.statistics()[:2] == (2, 1)
    shutil.copyfile(real.with_name("wjets_200.root"), folder / NAME)  # another file of the same name
    with opened_input(url) as opener:
        assert len(NanoAODSource(url, opener=opener)) == 200
    assert cache.statistics().misses == 2
    monkeypatch.setattr(reading, "SMALL", 1000)
    with open_root(url) as directory:
        assert directory["Events"].num_entries == 200
    assert cache.statistics()[:2] == (2, 2)
    cache.close()


def test_copies_can_be_asked_for(storage: Storage, folder: Path, tmp_path: Path) -> None:
    settings = replace(DIRECT, reading="copy", cache_root=tmp_path / "cache", cache_max_size=10**7)
    with open_root(storage.url("xrd-open", path=f"{folder.name}/{NAME}"), settings) as directory:
        assert directory["Events"].num_entries == 1000
    cache = reading.cache_of(settings)
    assert cache.usage().files == 1
    cache.close()


@pytest.mark.parametrize("protocol", ["root", "davs"])
def test_selection_of_files_on_a_server_is_that_of_local_ones(
    law: Law, storage: Storage, small_files: dict[str, list[str]], tmp_path: Path, protocol: Protocol
) -> None:
    folder = storage.scratch("xrd-open", "reading")
    paths = [Path(path) for path in small_files["ttbar"]]
    for path in paths:
        shutil.copyfile(path, folder / path.name)
    files = {
        "local": {"ttbar": small_files["ttbar"]},
        "remote": {"ttbar": [storage.url("xrd-open", protocol, f"{folder.name}/{path.name}") for path in paths]},
    }
    tables = [
        law.succeed("PlotCutflow", "--campaign", write_campaign(tmp_path / f"{name}.yaml", named)).stdout
        for name, named in files.items()
    ]
    assert "exactly one lepton" in tables[0]
    assert tables[0] == tables[1]
