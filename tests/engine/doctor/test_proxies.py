from __future__ import annotations

import time
from pathlib import Path

import pytest

from analysis.engine.doctor import proxies
from analysis.engine.doctor.examine import examine
from analysis.engine.doctor.finding import Finding, Level
from analysis.engine.storage import credentials as storage
from analysis.engine.storage.credentials import Credential
from analysis.engine.storage.refresh import CredentialSettings
from tests.engine.storage.secrets_of_tests import make_proxy, secret_file, valid_token


@pytest.fixture(autouse=True)
def _nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_SHARED_FOLDER", tmp_path)
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "X509_USER_CERT", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def look() -> tuple[Finding, ...]:
    return examine(["credentials"]).findings


def test_nothing() -> None:
    (found,) = look()
    assert (found.level, found.found) == (Level.GREY, "there is neither a proxy nor a token")


def test_a_proxy_and_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, token = make_proxy(tmp_path / "pki"), valid_token(3600 * 5 + 30)
    monkeypatch.setenv("X509_USER_PROXY", str(proxy))
    monkeypatch.setenv("BEARER_TOKEN", token)
    assert look() == (
        Finding("proxy", Level.GREEN, f"the proxy {proxy}, valid for 24 h 0 min"),
        Finding("token", Level.GREEN, "the token in BEARER_TOKEN, valid for 5 h 0 min"),
    )


def test_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(secret_file(tmp_path / "bt", valid_token(-7200))))
    (found,) = look()
    assert (found.name, found.level) == ("token", Level.RED)
    assert found.found == f"the token {tmp_path / 'bt'} expired 2 h 0 min ago"
    assert found.advice.startswith("get a new one, e.g. with 'htgettoken'")


def test_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = secret_file(tmp_path / "bt", valid_token(), 0o644)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(file))
    (found,) = look()
    assert (found.level, found.advice) == (Level.RED, f"run 'chmod 600 {file}'")
    assert "its mode is 0644" in found.found


def credential(seconds: float | None, now: float, variable: str = "X") -> Credential:
    return Credential("the token t", None if seconds is None else now + seconds, "get one", variable=variable)


@pytest.mark.parametrize(
    ("seconds", "variable", "settings", "level"),
    [
        (None, "X", {}, Level.GREEN),
        (3601, "X", {}, Level.GREEN),
        (3599, "X", {}, Level.YELLOW),
        (3599, "X", {"refresh_command": "renew"}, Level.GREEN),
        (299, "X", {"refresh_command": "renew"}, Level.RED),
        (-1, "X", {}, Level.RED),
        (-1, "", {}, Level.YELLOW),
    ],
)
def test_lifetimes(seconds: float | None, variable: str, settings: dict[str, str], level: Level) -> None:
    now = time.time()
    found = proxies.finding(credential(seconds, now, variable), CredentialSettings(**settings), now)  # type: ignore[arg-type]
    assert found.level == level
    assert bool(found.advice) is (level != Level.GREEN)
