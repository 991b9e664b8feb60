"""Credentials and certificates that a server does not like, through ``law run``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.storage_fixtures import Places, new_place, scheme, storage
from tests.integration.storage_runs import Runs, make_runs
from tests.testbed.storage import Protocol, Storage

__all__ = ["new_place", "scheme", "storage"]

pytestmark = pytest.mark.integration

EXPIRED = {"expired.proxy": "make a new one with", "expired.token": "get a new one"}


def shown(storage: Storage, credential: str) -> dict[str, str]:
    """Variables of a credential."""
    if not credential:
        return {}
    name = "X509_USER_PROXY" if credential.endswith(".proxy") else "BEARER_TOKEN_FILE"
    return {name: str(storage.credential(credential))}


@pytest.fixture
def runs(new_place: Places, scheme: Protocol, tmp_path: Path) -> Runs:
    """Runs on the server that asks who comes."""
    return make_runs(new_place("xrd-auth", scheme), tmp_path)


@pytest.fixture
def done(runs: Runs, storage: Storage) -> Runs:
    """The same, when alice has run the workflow."""
    runs.succeed("WriteToy", **shown(storage, "alice.proxy"))
    return runs


@pytest.mark.parametrize("credential", ["alice.proxy", "write.token"])
def test_good_credential(runs: Runs, storage: Storage, credential: str) -> None:
    runs.succeed("WriteToy", **shown(storage, credential))
    assert runs.current() == {0, 1, 2}


def test_refused_credential(done: Runs, storage: Storage) -> None:
    """Expired, of somebody without rights, of an unknown authority, for other servers, or none."""
    for credential in (*EXPIRED, "mallory.proxy", "stranger.proxy", "audience.token", ""):
        said = done("WriteToy", "--print-status", "0", **shown(storage, credential))
        assert said.code == 1
        # a server that hangs up before its alert arrives has said nothing
        is_unsaid = credential == "stranger.proxy" and not said.lines("DeniedError")
        said.sentence("OutageError" if is_unsaid else "DeniedError", f"{done.base}/v1/WriteToy/toys")
        assert "missing" not in said.text
        if credential in EXPIRED:
            path = storage.credential(credential)
            assert len(said.lines(f"credentials: the {path.suffix[1:]} {path} expired ")) == 1
            assert EXPIRED[credential] in said.text
    assert done.current() == {0, 1, 2}


def test_token_to_read(done: Runs, storage: Storage) -> None:
    """It is enough for a question, and not for a run."""
    assert "3 current" in done("WriteToy", "--print-status", "0", **shown(storage, "read.token")).text
    said = done("WriteToy", "--n", 2, **shown(storage, "read.token"))
    assert said.code == 30
    said.sentence("DeniedError", f"write {done.base}/v1/WriteToy/toys/n_2/", "the permissions of that path")
    assert done.files("*.bin").keys() == {"out_0.bin", "out_1.bin", "out_2.bin"}


def test_unknown_authority(done: Runs, storage: Storage, tmp_path: Path) -> None:
    """Nobody can tell whether it is the right server."""
    nothing = {"X509_CERT_DIR": str(tmp_path), "SSL_CERT_DIR": str(tmp_path), "SSL_CERT_FILE": ""}
    said = done("WriteToy", "--print-status", "0", **shown(storage, "alice.proxy"), **nothing)
    assert said.code == 1
    error = "OutageError" if done.place.scheme == "root" else "TrustError"
    said.sentence(error, f"{done.base}/v1/WriteToy/toys", "X509_CERT_DIR")
    assert "missing" not in said.text
