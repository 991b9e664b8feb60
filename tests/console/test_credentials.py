from __future__ import annotations

import time
from pathlib import Path

import pytest

from analysis.console import main
from analysis.engine.storage import credentials as storage
from tests.engine.storage.secrets_of_tests import make_proxy, secret_file, valid_token


@pytest.fixture(autouse=True)
def _nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "_SHARED_FOLDER", tmp_path)
    for name in ("BEARER_TOKEN", "BEARER_TOKEN_FILE", "X509_USER_PROXY", "X509_USER_CERT", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    proxy, token = make_proxy(tmp_path / "pki"), valid_token(3600 * 5 + 30, scope="storage.read:/ storage.modify:/me")
    file = secret_file(tmp_path / "bt", token)
    monkeypatch.setenv("X509_USER_PROXY", str(proxy))
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(file))
    assert main(["credentials"]) == 0
    said = capsys.readouterr().out
    until = time.strftime("%Y-%m-%d", time.localtime(time.time() + 3600 * 5 + 30))
    assert said.startswith(f"the proxy {proxy} (X509_USER_PROXY)\n  valid     for 24 h 0 min, until ")
    assert "\n  subject   /DC=org/DC=test/OU=People/CN=Jane Doe\n  issuer    /DC=org/DC=test/CN=Test CA\n" in said
    assert f"\nthe token {file} (BEARER_TOKEN_FILE)\n  valid     for 5 h 0 min, until {until}" in said
    assert said.endswith("  audience  any\n  scope     storage.read:/ storage.modify:/me\n")
    assert "PRIVATE" not in said
    assert token not in said


def test_nothing_or_expired(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["credentials"]) == 1
    assert (
        "there is neither a proxy nor a token; looked for in X509_USER_PROXY, /tmp/x509up_u" in capsys.readouterr().err
    )
    monkeypatch.setenv("BEARER_TOKEN", valid_token(-7200))
    assert main(["credentials"]) == 1
    assert "\n  EXPIRED   2 h 0 min ago: get a new one, e.g. with 'htgettoken'" in capsys.readouterr().out


def test_open_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    file = secret_file(tmp_path / "bt", valid_token(), 0o644)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(file))
    assert main(["credentials"]) == 1
    assert (
        f"is open to others, so client libraries refuse it (its mode is 0644): run 'chmod 600 {file}'"
        in capsys.readouterr().err
    )
