from __future__ import annotations

import base64
import dataclasses
import stat
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from analysis.engine.backends import jobcredentials
from analysis.engine.backends.jobcredentials import (
    SECRET,
    JobCredentials,
    forget,
    is_renewed,
    job_credentials,
    keep_fresh,
)
from analysis.engine.backends.jobenv import JOB_SCRIPT
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import JobPlan
from analysis.engine.backends.settings import BatchSettings
from analysis.engine.backends.slurm_script import SlurmSettings, script
from analysis.engine.storage import credentials as storage
from tests.engine.backends.test_htcondor_submit import SUBMISSION, lines, text
from tests.engine.storage.secrets_of_tests import make_proxy, secret_file, valid_token

SHARED, SENT = BatchSettings(), BatchSettings(shared_filesystem=False)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A proxy."""
    return make_proxy(tmp_path_factory.mktemp("pki"))


@pytest.fixture(autouse=True)
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of submissions; nothing is on this machine only but what is in ``here``."""
    for place in ("shared", "here", "home"):
        (tmp_path / place).mkdir()
    monkeypatch.setattr(storage, "_SHARED_FOLDER", tmp_path / "shared")
    monkeypatch.setattr(jobcredentials, "_OF_THIS_MACHINE", (str(tmp_path / "here"),))
    monkeypatch.setattr("analysis.engine.backends.settings.jobs_folder", lambda: tmp_path / "jobs")
    return tmp_path / "jobs"


@pytest.fixture
def shell(tmp_path: Path, proxy: Path) -> dict[str, str]:
    """A proxy that only this machine sees, and a token in the home directory."""
    own = secret_file(tmp_path / "here" / "x509up", proxy.read_text())
    token = secret_file(tmp_path / "home" / "bt", valid_token())
    return {"X509_USER_PROXY": str(own), "BEARER_TOKEN_FILE": str(token)}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_htcondor(shell: dict[str, str], jobs: Path, proxy: Path) -> None:
    found = job_credentials("htcondor", SHARED, shell)
    files = {"BEARER_TOKEN_FILE": shell["BEARER_TOKEN_FILE"]}
    assert found == JobCredentials(files, proxy=jobs / "credentials" / "x509up")
    assert found.proxy is not None
    assert found.proxy.read_text() == proxy.read_text()
    assert (mode(found.proxy), mode(found.proxy.parent)) == (0o600, 0o700)
    token = Path(shell["BEARER_TOKEN_FILE"])
    assert job_credentials("htcondor", SENT, shell) == ({"BEARER_TOKEN_FILE": "bt"}, (token,), found.proxy, {})


def test_slurm_with_a_shared_file_system(shell: dict[str, str], jobs: Path) -> None:
    files = {"X509_USER_PROXY": str(jobs / "credentials" / "x509up"), "BEARER_TOKEN_FILE": shell["BEARER_TOKEN_FILE"]}
    assert job_credentials("slurm", SHARED, shell) == (files, (), None, {})


def test_slurm_without(shell: dict[str, str], jobs: Path) -> None:
    """Nothing is written anywhere."""
    found = job_credentials("slurm", SENT, shell)
    assert found[:3] == ({}, (), None)
    decoded = {name: base64.b64decode(value).decode() for name, value in found.secrets.items()}
    assert decoded == {SECRET + name: Path(path).read_text() for name, path in shell.items()}
    assert not jobs.exists()


def test_token_of_a_variable(jobs: Path) -> None:
    text = valid_token()
    (path,) = job_credentials("slurm", SHARED, {"BEARER_TOKEN": text}).environment.values()
    assert path == str(jobs / "credentials" / "bt")
    assert (Path(path).read_text(), mode(Path(path))) == (text, 0o600)
    assert job_credentials("slurm", SHARED, {}) == ({}, (), None, {})


def test_key_of_a_person_stays_here(proxy: Path) -> None:
    files = {"X509_USER_CERT": str(proxy.parent / "user.pem"), "X509_USER_KEY": str(proxy.parent / "user.key")}
    assert job_credentials("slurm", SENT, files) == ({}, (), None, {})


def test_copies_follow(shell: dict[str, str], jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "keep_fresh", lambda: True)
    keep_fresh(shell)
    assert not (jobs / "credentials" / "x509up").exists()
    job_credentials("htcondor", SHARED, shell)
    other = Path(shell["X509_USER_PROXY"])
    other.write_text(other.read_text() + "\n")
    keep_fresh(shell)
    copy = jobs / "credentials" / "x509up"
    assert (copy.read_text(), mode(copy)) == (other.read_text(), 0o600)
    other.unlink()
    keep_fresh(shell)
    assert copy.exists()


@pytest.fixture
def ledger(jobs: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with closing(Ledger(jobs / "ledger.db")) as ledger:
        yield ledger


def test_copies_are_removed_with_the_last_job(shell: dict[str, str], jobs: Path, ledger: Ledger) -> None:
    forget(ledger)
    ledger.reserve("0a1b", "htcondor", "toy", jobs / "toy-0a1b", [JobPlan({0: "d"}, {})])
    copy = job_credentials("htcondor", SHARED, shell).proxy
    assert copy is not None
    forget(ledger)
    assert copy.exists()
    ledger.refused("0a1b")
    forget(ledger)
    assert not copy.exists()


def test_who_notices_a_new_one() -> None:
    assert is_renewed("htcondor", SENT) == {"token": False, "proxy": True}
    assert is_renewed("slurm", SENT) == {"token": False, "proxy": False}
    assert is_renewed("slurm", SHARED) == {"token": True, "proxy": True}


def test_texts_have_no_secret(shell: dict[str, str]) -> None:
    found = job_credentials("slurm", SENT, shell)
    submission = dataclasses.replace(SUBMISSION, environment=found.environment, secrets=found.secrets)
    written = [script(submission, SlurmSettings(), {"PATH": "/bin"}), text(secrets=found.secrets), repr(submission)]
    for secret in found.secrets.values():
        assert not any(secret in one for one in written)
    assert lines(proxy=Path("/a/x509up"))["x509userproxy"] == "/a/x509up"
    assert "x509userproxy" not in lines()


# job.sh


def brought(folder: Path, **environment: str) -> dict[str, str]:
    """Variables of the process that ``job.sh`` would start, and contents and modes of the files that they name."""
    functions = JOB_SCRIPT.read_text().partition("\n[[ ")[0]
    show = """
scratch=${PWD}/scratch repository=${PWD}/repository; mkdir -p "${scratch}" "${repository}/certificates"
bring_credentials; find_authorities
env | grep -E '^(X509|BEARER|SSL|ANALYSIS_JOB_SECRET)'
for file in "${X509_USER_PROXY:-}" "${BEARER_TOKEN_FILE:-}"; do
  [[ -z "${file}" ]] || printf '%s=%s\n' "${file##*/}" "$(stat -c %a "${file}") $(cat "${file}")"
done
"""
    ended = subprocess.run(
        ["/bin/bash", "-c", functions + show],
        env={"PATH": "/usr/bin:/bin", **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return dict(line.split("=", 1) for line in ended.stdout.splitlines())


def test_job_makes_files_of_variables(tmp_path: Path) -> None:
    encoded = {name: base64.b64encode(name.encode()).decode() for name in ("X509_USER_PROXY", "BEARER_TOKEN_FILE")}
    found = brought(tmp_path, **{SECRET + name: value for name, value in encoded.items()})
    assert found == {
        "X509_USER_PROXY": f"{tmp_path}/scratch/x509_user_proxy",
        "BEARER_TOKEN_FILE": f"{tmp_path}/scratch/bearer_token_file",
        "x509_user_proxy": "600 X509_USER_PROXY",
        "bearer_token_file": "600 BEARER_TOKEN_FILE",
    }


def test_job_has_whole_paths(tmp_path: Path) -> None:
    (tmp_path / "bt").write_text("a")
    found = brought(tmp_path, BEARER_TOKEN_FILE="bt", X509_CERT_DIR="certificates", SSL_CERT_DIR="/not/here")
    assert found == {
        "BEARER_TOKEN_FILE": f"{tmp_path}/bt",
        "bt": "600 a",
        "X509_CERT_DIR": f"{tmp_path}/repository/certificates",
    }
    assert brought(tmp_path) == {}
