"""The conformance tests on an S3 server, for all that an object store can do: it has no folders, and no checksums."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.storage.interfaces import FsspecInterface, interface_for
from tests.chain import Law
from tests.engine.storage import conformance
from tests.engine.storage.conformance import Place

pytestmark = pytest.mark.integration

BUCKET = "conformance"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """URL of a server with a bucket."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    options = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **options).create_bucket(Bucket=BUCKET)
    yield url
    server.stop()


@pytest.fixture
def place(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, value in _account(endpoint).items():
        monkeypatch.setenv(name, value)
    interface = interface_for("s3")
    assert isinstance(interface, FsspecInterface)
    place = Place(interface, f"s3://{BUCKET}/{uuid.uuid4().hex}", has_checksums=False)
    interface.make_folder(place.url)
    return place


def _account(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }


def _apart(test: Callable[..., Any]) -> Callable[..., Any]:
    """Another function, so that this module's mark is not one of the conformance tests themselves."""

    @functools.wraps(test)
    def run(*arguments: Any, **options: Any) -> Any:
        return test(*arguments, **options)

    return run


_NOT_HERE = (*conformance.OF_SERVERS, *conformance.OF_FOLDERS)
globals().update({test.__name__: _apart(test) for test in conformance.TESTS if test not in _NOT_HERE})


def test_outputs_of_tasks(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object store has no locks, which is said once; all else is as on any server."""
    variables = {"LAW__outputs__default": "wlcg, wlcg_fs", "LAW__wlcg_fs__base": f"s3://{BUCKET}/tasks"}
    for name, value in {**variables, **_account(endpoint)}.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "law").mkdir()
    law = Law(tmp_path / "no store", tmp_path / "law")
    task = ("IndexFiles", "--dataset", "single_top_s_chan")
    assert law.succeed(*task).stderr.count("cannot have locks") == 1
    said = law.succeed(*task, "--print-status", "1").stdout
    assert said.splitlines()[-1].endswith("0 stale, 0 missing")
    assert not law.store.exists()
