from __future__ import annotations

import base64
import calendar
import errno
import fcntl
import json
import os
from pathlib import Path

import pytest

from analysis.engine.backends import preflight
from analysis.engine.backends.base import BackendError
from analysis.engine.backends.preflight import (
    Credential,
    CredentialError,
    check_credential,
    check_limits,
    check_locks,
    check_store,
    credentials,
    proxy_expires,
    token_expires,
)
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.settings import BatchSettings
from analysis.engine.errors import ParameterError, StoreError
from analysis.engine.files import LocalFiles
from tests.engine.toys import Toy

# made with openssl, which says: notAfter=Jan  2 03:04:05 2026 GMT, and notAfter=Jun  7 08:09:10 2051 GMT
SHORT = """
-----BEGIN CERTIFICATE-----
MIIBFjCBvAIBATAKBggqhkjOPQQDAjAiMRMwEQYKCZImiZPyLGQBGRYDb3JnMQsw
CQYDVQQDDAJjYTAeFw0yNjAxMDEwMDAwMDBaFw0yNjAxMDIwMzA0MDVaMAwxCjAI
BgNVBAMMAXAwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ7W/DqMqVBr73akCOL
k3fboddpFHRtTOpvEKPp38sZcWvL+vWVWSgjDv6ohEPtHVp8RMoovpaCzB+RYryw
55HsMAoGCCqGSM49BAMCA0kAMEYCIQDzbfOaL8zDrz2YCI7MYdCfRohFMYC/T0hO
zhYog/YQSAIhAKsUP/4zf495v5FvCOQj2h1viCibvZQhDDZSIEfoTBpO
-----END CERTIFICATE-----
"""
LONG = """
-----BEGIN CERTIFICATE-----
MIIBFzCBvgIBAjAKBggqhkjOPQQDAjAiMRMwEQYKCZImiZPyLGQBGRYDb3JnMQsw
CQYDVQQDDAJjYTAgFw0yNjAxMDEwMDAwMDBaGA8yMDUxMDYwNzA4MDkxMFowDDEK
MAgGA1UEAwwBcDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDtb8OoypUGvvdqQ
I4uTd9uh12kUdG1M6m8Qo+nfyxlxa8v69ZVZKCMO/qiEQ+0dWnxEyii+loLMH5Fi
vLDnkewwCgYIKoZIzj0EAwIDSAAwRQIgR1OvgtPhxPP8CZRkuI5GWVmo1Q9tMjYi
KMSH45iSzQACIQDSRGEkeWDjL8w/2cupfaMIPKgNST384a0vq7J0+dvNxw==
-----END CERTIFICATE-----
"""
SHORT_ENDS = float(calendar.timegm((2026, 1, 2, 3, 4, 5)))
LONG_ENDS = float(calendar.timegm((2051, 6, 7, 8, 9, 10)))
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n"


def token(payload: object) -> str:
    """A token such as servers issue them: without padding."""
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, payload))
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2ln"])


def test_shortest_certificate_of_a_proxy_counts() -> None:
    assert proxy_expires(SHORT) == SHORT_ENDS
    assert proxy_expires(LONG) == LONG_ENDS
    assert proxy_expires(LONG + KEY + SHORT) == SHORT_ENDS
    assert proxy_expires(KEY) is None
    assert proxy_expires("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n") is None


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        (token({"exp": 1.6e9}), 1.6e9),
        (token({"exp": 1600000000, "sub": "??>>~~"}) + "\n", 1.6e9),
        (token({"sub": "me"}), None),
        (token([1]), None),
        (token({"exp": [1]}), None),
        ("opaque", None),
        ("a.b.c", None),
        ("", None),
    ],
)
def test_end_of_a_token(text: str, expires: float | None) -> None:
    assert token_expires(text) == expires


def test_credentials_of_the_shell(tmp_path: Path) -> None:
    proxy, file = tmp_path / "proxy", tmp_path / "token"
    proxy.write_text(SHORT + KEY + LONG)
    file.write_text(token({"exp": 7}))
    shell = {"X509_USER_PROXY": str(proxy), "BEARER_TOKEN_FILE": str(file)}
    assert [found[:2] for found in credentials(shell)] == [(f"the proxy {proxy}", SHORT_ENDS), (f"the token {file}", 7)]
    shell["BEARER_TOKEN"] = token({"exp": 8})
    assert [found[:2] for found in credentials(shell)][1:] == [("the token in BEARER_TOKEN", 8)]
    assert list(credentials({"X509_USER_PROXY": "", "HOME": "/"})) == []


@pytest.mark.parametrize("variable", ["X509_USER_PROXY", "BEARER_TOKEN_FILE"])
def test_credential_that_is_not_there(tmp_path: Path, variable: str) -> None:
    path = tmp_path / "gone"
    with pytest.raises(CredentialError, match=rf"^{path}, which {variable} names, cannot be read \(no such file"):
        list(credentials({variable: str(path)}))


def test_file_that_is_no_proxy(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text(KEY)
    with pytest.raises(CredentialError, match="has no certificate: make a new one with 'voms-proxy-init"):
        list(credentials({"X509_USER_PROXY": str(tmp_path / "proxy")}))


def test_how_long_a_credential_lasts() -> None:
    proxy = Credential("the proxy p", 10_000.0, "renew it")
    expected = "the proxy p is valid for 50 min only, and a job may take 2 h 0 min: renew it"
    assert check_credential(proxy, 7200, 7000.0) == expected
    assert check_credential(proxy, 3000, 7000.0) == ""
    assert check_credential(proxy, 0, 9999.0) == ""
    assert check_credential(proxy._replace(expires=None), 7200, 1e12) == ""
    with pytest.raises(CredentialError, match=r"^the proxy p expired 17 min ago: renew it, then run again$"):
        check_credential(proxy, 7200, 11_000.0)


@pytest.mark.parametrize(
    ("resources", "sentence"),
    [
        (Resources(memory=17 * 10**9), "asks for 17 GB of memory, but max_memory is 16 GB: ask for less with --memory"),
        (Resources(runtime=49 * 3600), "asks for 49 h 0 min of run time, but max_runtime is 48 h 0 min: ask for less"),
    ],
)
def test_more_than_allowed(resources: Resources, sentence: str) -> None:
    with pytest.raises(ParameterError, match=f"^a job of Toy {sentence}"):
        check_limits("Toy", resources, BatchSettings())
    check_limits("Toy", Resources(memory=16 * 10**9, runtime=48 * 3600), BatchSettings())


def test_folder_with_locks(tmp_path: Path) -> None:
    check_locks(tmp_path / "new" / "jobs")
    assert list((tmp_path / "new" / "jobs").iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BackendError, match=r"file/jobs is no place .* \(not a directory\): set job_file_dir"):
        check_locks(tmp_path / "file" / "jobs")


def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BackendError, match=r"need file locks there \(no locks available\)"):
        check_locks(tmp_path)
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    with pytest.raises(BackendError, match="locks keep nobody out, so jobs could be doubled"):
        check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_store_is_tried(tmp_path: Path) -> None:
    check_store(LocalFiles(), tmp_path / "v1" / "Toy")
    assert list((tmp_path / "v1" / "Toy").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file/Toy cannot be written \(not a directory\): set ANALYSIS_STORE"):
        check_store(LocalFiles(), tmp_path / "file" / "Toy")


@pytest.mark.usefixtures("store")
def test_all_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(preflight, "jobs_folder", lambda: tmp_path / "jobs")
    for name in ("X509_USER_PROXY", "BEARER_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    task, settings = Toy(workflow="slurm", max_runtime="2h"), BatchSettings()
    for seconds, said in ((10_000, ""), (1000, "Toy: the token in BEARER_TOKEN is valid for 17 min only, and a job ")):
        monkeypatch.setenv("BEARER_TOKEN", token({"exp": seconds}))
        monkeypatch.setattr("time.time", lambda: 0.0)
        preflight.check(task, settings)
        found = capsys.readouterr().err
        assert found.startswith(said)
        assert found.count("\n") == bool(said)
    monkeypatch.setenv("BEARER_TOKEN", token({"exp": -1}))
    with pytest.raises(CredentialError):
        preflight.check(task, settings)
