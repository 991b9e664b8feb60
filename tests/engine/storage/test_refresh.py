from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import law
import pytest

from analysis.engine.errors import ParameterError
from analysis.engine.storage import credentials, refresh
from analysis.engine.storage.credentials import CredentialError
from analysis.engine.storage.refresh import CredentialSettings, credential_settings, keep_fresh, ready
from tests.engine.storage.secrets_of_tests import secret_file, valid_token

Configure = Callable[..., None]


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Writes the section ``credentials`` of ``law.cfg``."""
    before = dict(law.config.items("credentials")) if law.config.has_section("credentials") else {}

    def write(**options: str) -> None:
        law.config.remove_section("credentials")
        law.config.add_section("credentials")
        for option, value in options.items():
            law.config.set("credentials", option, value)

    write()
    yield write
    write(**before)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A token that is valid for ten minutes, and nothing else."""
    for name in ("BEARER_TOKEN", "X509_USER_PROXY", "X509_USER_CERT", "XDG_RUNTIME_DIR", "ANALYSIS_JOB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(credentials, "_SHARED_FOLDER", tmp_path / "shared")
    monkeypatch.setattr(refresh, "jobs_folder", lambda: tmp_path / "jobs")
    monkeypatch.setattr(refresh, "_told", set())
    monkeypatch.setattr(refresh, "_seen", None)
    path = secret_file(tmp_path / "token", valid_token(600))
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(path))
    return path


def renewing(file: Path, seconds: float = 36_000) -> str:
    """A command that renews the token, and takes note of it."""
    place = shlex.quote(str(file))
    return f"echo {valid_token(seconds, jti='renewed')} > {place} && echo x >> {place}.calls"


def calls(file: Path) -> int:
    path = file.with_name(f"{file.name}.calls")
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_settings(configure: Configure) -> None:
    assert credential_settings() == CredentialSettings("", 3600, 300)
    configure(refresh_command="a b", refresh_before="2h", minimum_lifetime="1min")
    assert credential_settings() == CredentialSettings("a b", 7200, 60)
    configure(refresh_comand="a")
    with pytest.raises(ParameterError, match="section credentials: there is no refresh_comand, only"):
        credential_settings()


def test_renewed_in_time(configure: Configure, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(refresh_command=renewing(file), refresh_before="5min")
    assert not keep_fresh()
    assert calls(file) == 0
    configure(refresh_command=renewing(file), refresh_before="11min")
    assert keep_fresh()
    assert not keep_fresh()
    assert calls(file) == 1
    assert capsys.readouterr().err == ""


def test_renewed_by_somebody_else(configure: Configure, file: Path) -> None:
    """Which is worth another try, too."""
    configure(refresh_before="5min")
    assert not keep_fresh()
    file.write_text(valid_token(9000))
    assert keep_fresh()
    assert not keep_fresh()


def test_what_is_short_lived_is_not_renewed_all_the_time(
    configure: Configure, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site gives ten minutes whatever is asked for: it is asked when half of them are over."""
    now = time.time()
    configure(refresh_command=renewing(file, 600), refresh_before="1h")
    for seconds, expected in ((0, 1), (10, 1), (290, 1), (310, 2), (320, 2)):
        monkeypatch.setattr("time.time", lambda seconds=seconds: now + seconds)
        keep_fresh()
        assert calls(file) == expected, seconds


def test_command_that_fails(configure: Configure, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is said once, without what is secret."""
    configure(refresh_command=f"echo {valid_token()} >&2; exit 3", refresh_before="1h")
    for _ in range(3):
        assert not keep_fresh(is_asked_for=True)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "failed with exit code 3: <secret>; the token " in said
    assert f"{file} is valid for 10 min only" in said
    assert "eyJ" not in said


def test_command_that_writes_elsewhere(configure: Configure, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(valid_token(-600))
    configure(refresh_command="true")
    keep_fresh()
    assert f"ended well, but the token {file} expired 10 min ago: does it write to another" in capsys.readouterr().err


@pytest.mark.usefixtures("file")
def test_command_that_hangs(
    configure: Configure, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresh, "_TIMEOUT", 0.05)
    configure(refresh_command="exec sleep 60")
    keep_fresh()
    assert "took more than 0 s: does it ask for a password?" in capsys.readouterr().err


def test_variable_cannot_be_renewed(
    configure: Configure, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", valid_token(600))
    configure(refresh_command=renewing(file))
    keep_fresh()
    assert "no command can renew a variable: unset BEARER_TOKEN" in capsys.readouterr().err


def test_no_command(configure: Configure, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    for _ in range(2):
        assert not keep_fresh()
    said = capsys.readouterr().err
    assert said.startswith(f"credentials: the token {file} is valid for 10 min only: get a new one")
    assert said.count("\n") == 1


def test_nothing_there_yet(configure: Configure, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first token comes from the command as well."""
    file.unlink()
    configure(refresh_command=f"umask 077; {renewing(file)}")
    keep_fresh()
    assert (calls(file), capsys.readouterr().err) == (1, "")


@pytest.mark.parametrize("variable", ["ANALYSIS_JOB_TOKEN", "ANALYSIS_CREDENTIALS_GIVEN"], ids=["job", "container"])
def test_nothing_is_renewed_there(
    configure: Configure, file: Path, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "0a1b")
    configure(refresh_command=renewing(file))
    keep_fresh()
    assert calls(file) == 0


def test_one_process_at_a_time(configure: Configure, file: Path) -> None:  # noqa: ARG001
    """Of eight that want to, one calls the command; the others find it done."""
    import subprocess

    command = f"{renewing(file)}; sleep 0.2"
    code = f"""
import os, sys
from pathlib import Path
from analysis.engine.storage import refresh
refresh.jobs_folder = lambda: Path({str(file.parent / "jobs")!r})
refresh.credential_settings = lambda: refresh.CredentialSettings({command!r}, 3600, 0)
sys.stdin.readline()
refresh.keep_fresh()
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) for _ in range(8)]
    for process in started:
        process.communicate(b"\n")
    assert [process.returncode for process in started] == [0] * 8
    assert calls(file) == 1


def test_before_jobs(configure: Configure, file: Path) -> None:
    configure(refresh_before="1min")
    assert ready(300, is_renewed={}) == []
    (warning,) = ready(7200, is_renewed={"token": True})
    assert warning.startswith(f"the token {file} is valid for 10 min only, and a job may take 2 h 0 min")
    configure(refresh_before="1min", refresh_command="true")
    assert ready(7200, is_renewed={"token": True}) == []
    assert len(ready(7200, is_renewed={"token": False})) == 1
    configure(refresh_before="1min", minimum_lifetime="15min")
    with pytest.raises(
        CredentialError, match=r"10 min only, and jobs are not submitted with less than 15 min \(minimum"
    ):
        ready(300, is_renewed={})
    file.write_text(valid_token(-60))
    with pytest.raises(CredentialError, match="expired 60 s ago"):
        ready(300, is_renewed={})


def test_leftover_is_in_nobodys_way(
    configure: Configure, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import os

    configure()
    monkeypatch.delenv("BEARER_TOKEN_FILE")
    file.write_text(valid_token(-60))
    file.rename(file.parent / "shared" / f"bt_u{os.getuid()}")
    assert ready(300, is_renewed={}) == []
    assert capsys.readouterr().err == ""
