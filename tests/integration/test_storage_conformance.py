"""The conformance tests for each client library and protocol, on the servers of the testbed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from analysis.engine.storage.base import Entry, Interface, NotFoundError, OutageError, RemoteError
from analysis.engine.storage.interfaces import FsspecInterface, GfalInterface, XrootdInterface
from tests.engine.storage import conformance
from tests.engine.storage.conformance import Place
from tests.engine.storage.outages import dead_port, requests
from tests.testbed.fixtures import storage
from tests.testbed.storage import Protocol, Storage

__all__ = ["storage"]

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration

PAIRS: dict[str, tuple[type[XrootdInterface | GfalInterface | FsspecInterface], Protocol]] = {
    "xrootd-root": (XrootdInterface, "root"),
    "gfal2-root": (GfalInterface, "root"),
    "gfal2-davs": (GfalInterface, "davs"),
    "fsspec-root": (FsspecInterface, "root"),
    "fsspec-davs": (FsspecInterface, "davs"),
}


@pytest.fixture(params=PAIRS)
def pair(
    request: pytest.FixtureRequest, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> tuple[type[XrootdInterface | GfalInterface | FsspecInterface], Protocol]:
    for variable, value in storage.environment().items():
        monkeypatch.setenv(variable, value)
    monkeypatch.syspath_prepend(storage.bindings)
    kind, protocol = PAIRS[request.param]
    if problem := kind.problem_for(protocol):
        pytest.skip(problem)
    return kind, protocol


@pytest.fixture
def place(pair: tuple[type[Interface], Protocol], storage: Storage) -> Iterator[Place]:
    kind, protocol = pair
    folder = storage.scratch("xrd-open", f"conformance-{uuid.uuid4().hex}")
    yield Place(kind(), storage.url("xrd-open", protocol, folder.name))
    shutil.rmtree(folder)


@pytest.fixture
def brief(pair: tuple[type[XrootdInterface | GfalInterface | FsspecInterface], Protocol]) -> Callable[[], Interface]:
    return lambda: pair[0](3)


DENIED = [None, "mallory.proxy"]
"""Credentials with which nothing may be done."""


@pytest.mark.parametrize("credential", DENIED)
def test_without_permission_nothing_looks_absent(
    pair: tuple[type[XrootdInterface | GfalInterface | FsspecInterface], Protocol],
    storage: Storage,
    tmp_path: Path,
    credential: str | None,
) -> None:
    done = in_process(storage, pair, "denied", credential, storage.url("xrd-auth", pair[1], "file"), tmp_path)
    assert done == "all denied"


@pytest.mark.parametrize("credential", ["alice.proxy", "write.token"])
def test_with_a_credential_it_works(
    pair: tuple[type[XrootdInterface | GfalInterface | FsspecInterface], Protocol],
    storage: Storage,
    tmp_path: Path,
    credential: str,
) -> None:
    folder = storage.scratch("xrd-auth", f"conformance-{uuid.uuid4().hex}")
    url = storage.url("xrd-auth", pair[1], f"{folder.name}/file")
    assert in_process(storage, pair, "works", credential, url, tmp_path) == "works"
    shutil.rmtree(folder)


def test_a_server_that_can_only_be_read_refuses(
    pair: tuple[type[XrootdInterface | GfalInterface | FsspecInterface], Protocol], storage: Storage, tmp_path: Path
) -> None:
    url = storage.url("xrd-readonly", pair[1], "file")
    for operation in requests(pair[0](), url, f"{url}2", tmp_path):
        if operation.name in ("write", "upload", "make folder"):
            with pytest.raises(RemoteError) as caught:
                operation()
            assert not isinstance(caught.value, NotFoundError)


@pytest.mark.parametrize("pair", ["xrootd-root"], indirect=True)
def test_many_questions_at_once(place: Place) -> None:
    assert isinstance(place.interface, XrootdInterface)
    place.interface.write(place / "file", b"12345")
    urls = [place / "file", place / "absent", place / "a?b", f"root://localhost:{dead_port()}//store/x"]
    found = place.interface.stats(urls * 300)
    assert len(found) == 1200
    for index, answer in enumerate(found):
        kinds = (Entry, NotFoundError, RemoteError, OutageError)
        assert isinstance(answer, kinds[index % 4])
        assert isinstance(answer, Entry) or answer.url == urls[index % 4]


WORK = """
import sys
from pathlib import Path
from analysis.engine.storage import interfaces
from analysis.engine.storage.base import DeniedError
from tests.engine.storage.outages import requests
kind, what, url, folder = sys.argv[1:]
interface = getattr(interfaces, kind)(10)
if what == "denied":
    for operation in requests(interface, url, url + "2", Path(folder)):
        try:
            operation()
        except DeniedError:
            continue
        sys.exit(operation.name + " was allowed")
    print("all denied")
else:
    interface.write(url, b"content")
    assert interface.read(url) == b"content"
    print("works")
"""


def in_process(
    storage: Storage,
    pair: tuple[type[XrootdInterface | GfalInterface | FsspecInterface], Protocol],
    what: str,
    credential: str | None,
    url: str,
    folder: Path,
) -> str:
    """What a process of its own says: libraries keep connections, which stay authorized."""
    unset = ("X509_USER_PROXY", "BEARER_TOKEN", "BEARER_TOKEN_FILE", "XDG_RUNTIME_DIR")
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    environment |= storage.environment(credential)
    environment["PYTHONPATH"] = f"{storage.bindings}:{environment.get('PYTHONPATH', '')}:{REPOSITORY}"
    done = subprocess.run(
        [sys.executable, "-c", WORK, pair[0].__name__, what, url, str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout.strip() or done.stderr


globals().update({test.__name__: test for test in conformance.TESTS})
