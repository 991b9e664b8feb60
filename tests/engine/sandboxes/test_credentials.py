"""Copies of proxies and tokens for containers."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from analysis.engine.sandboxes import credentials
from analysis.engine.sandboxes.credentials import FOLDER, GIVEN, give, kept_fresh
from tests.engine.sandboxes.runs import until


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a token; there is nothing else."""
    for name in ("X509_USER_PROXY", "X509_USER_CERT", "BEARER_TOKEN", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAW_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("analysis.engine.storage.credentials._SHARED_FOLDER", tmp_path)
    path = tmp_path / "token"
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(path))
    write(path, "first")
    (tmp_path / "run").mkdir()
    return path


def write(path: Path, text: str) -> None:
    """Replace a file, as what renews tokens does."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o600)
    new.rename(path)


def test_a_copy(token: Path) -> None:
    run = token.parent / "run"
    assert give(run) == {GIVEN: "1", "BEARER_TOKEN_FILE": f"{run}/{FOLDER}/token"}
    copy = run / FOLDER / "token"
    assert copy.read_text() == "first"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(copy.parent.stat().st_mode) == 0o700
    before = copy.stat()
    assert give(run)["BEARER_TOKEN_FILE"] == str(copy)
    assert copy.stat().st_ino == before.st_ino


def test_a_renewed_one(token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_INTERVAL", 0.01)
    run = token.parent / "run"
    give(run)
    with kept_fresh(run):
        write(token, "second")
        assert until(lambda: (run / FOLDER / "token").read_text() == "second")
    assert [path.name for path in (run / FOLDER).iterdir()] == ["token"]


def test_what_cannot_be_read(token: Path) -> None:
    """The variable stays what it is, and who needs it says what is wrong."""
    token.chmod(0o644)
    assert give(token.parent / "run") == {GIVEN: "1"}
    token.unlink()
    assert give(token.parent / "run") == {GIVEN: "1"}
    with kept_fresh(token.parent / "run"):
        assert not (token.parent / "run" / FOLDER).exists()


def test_a_token_in_a_variable(token: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEARER_TOKEN", "another")
    assert give(token.parent / "run") == {GIVEN: "1"}
