"""Proxies and tokens of jobs on the real systems: they arrive, they can be used, and nobody else sees them."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engine.storage.secrets_of_tests import make_proxy, secret_file, valid_token
from tests.integration.batch import Site, command_lines, sites, system
from tests.integration.batch_queue import until
from tests.testbed import System
from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "sites", "slurm", "system", "testbed"]

pytestmark = pytest.mark.integration

SHARED = {"True": "a shared file system", "False": "no shared file system"}


@dataclass(frozen=True)
class Shown:
    """What the user has, and what of it must not be anywhere."""

    site: Site
    proxy: Path
    token: str

    def pieces(self) -> list[bytes]:
        """Lines of the key, the token, and how either looks in base64."""
        text = self.proxy.read_text()
        key = text[text.index("PRIVATE KEY-----") :].partition("-----END")[0].splitlines()[1:-1]
        encoded = [base64.b64encode(content.encode())[40:100] for content in (text, self.token)]
        return [*(line.encode() for line in key), self.token.encode(), *encoded]

    def is_in(self, content: bytes) -> bool:
        return any(piece in content for piece in self.pieces())

    def files(self) -> set[str]:
        """Files of the store and of ``LAW_HOME`` with a secret."""
        found = set()
        for path in [*self.site.store.rglob("*"), *self.site.home.rglob("*")]:
            if path.is_file():
                content = path.read_bytes()
                content = gzip.decompress(content) if path.suffix == ".gz" and "logs" in path.parts else content
                if self.is_in(content):
                    found.add(str(path.relative_to(self.site.folder)))
        return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What is undone in the end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def shown(sites: Callable[..., Site], system: System, stack: ExitStack, tmp_path: Path) -> Callable[[str], Shown]:
    """A user with a proxy in a file and a token in a variable, on a site."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a proxy with")
    text, token = make_proxy(tmp_path).read_text(), valid_token()

    if system.name == "htcondor":  # which would make a proxy of its own of that, whose content is another one
        stack.enter_context(system.settings("DELEGATE_JOB_GSI_CREDENTIALS = False", "SHADOW_CHECKPROXY_INTERVAL = 2"))

    def make(shared: str) -> Shown:
        site = sites("secret")
        proxy = secret_file(site.folder / "x509up", text)
        shutil.chown(proxy, site.testbed.user, site.testbed.user)
        site.settings = {
            "X509_USER_PROXY": str(proxy),
            "BEARER_TOKEN": token,
            "LAW__batch__shared_filesystem": shared,
            "LAW__credentials__refresh_before": "1min",
        }
        return Shown(site, proxy, token)

    return make


@pytest.mark.parametrize("shared", SHARED, ids=SHARED.values())
def test_job_has_them_and_nobody_else(shown: Callable[[str], Shown], shared: str) -> None:
    user = shown(shared)
    site = user.site
    run = site.start()
    report = site.place / "found.json"
    run.until(report.exists)
    found = json.loads(report.read_text())
    assert found["variables"] == []
    assert {name: (mode, text) for name, (_, mode, text) in ((n, found[n]) for n in found if n != "variables")} == {
        "X509_USER_PROXY": ("600", user.proxy.read_text()),
        "BEARER_TOKEN_FILE": ("600", user.token),
    }
    report.unlink()

    # what anybody can see while it runs
    assert not user.is_in("\n".join(command_lines()).encode())
    until(site.ids)
    job = site.ids()[0]
    for answer in whatever_is_said(site, job):
        assert answer
        assert not user.is_in(answer)
    copies = {} if site.system.name == "slurm" and shared == "False" else {"law/jobs/credentials/bt"}
    assert user.files() == set(copies)
    for name in copies:
        assert (site.folder / name).stat().st_mode & 0o077 == 0
        assert (site.folder / name).parent.stat().st_mode & 0o077 == 0

    site.go()
    said = run.end(30)
    assert "ValueError: the server did not like" in said
    assert not user.is_in(said.encode())
    assert user.files() == set()
    (log,) = site.store.rglob("*.log.gz")
    text = gzip.decompress(log.read_bytes()).decode()
    assert "printed: <secret>" in text
    assert "of a program: <secret>" in text


def whatever_is_said(site: Site, job: str) -> Iterator[bytes]:
    """What the programs of a system tell of a job, to its owner and to administrators."""
    if site.system.name == "htcondor":
        yield site.testbed.succeed("condor_q", "-long", job).encode()
        return
    for command in (
        ("scontrol", "show", "job", "--details", job),
        ("scontrol", "write", "batch_script", job, "-"),
        ("squeue", "--Format=JobArrayID:0,Command:0,WorkDir:0,Comment:0,AdminComment:0", "--jobs", job),
        ("sacct", "--parsable2", "--format=ALL", "--jobs", job),
        ("sacct", "--batch-script", "--jobs", job),
        ("sacct", "--env-vars", "--jobs", job),
    ):
        until(lambda command=command: site.queue.admin(*command))  # type: ignore[misc]  # sacct knows it later
        yield site.queue.admin(*command).encode()


@pytest.mark.parametrize("system", ["htcondor"], indirect=True)  # Slurm sends nothing to a job that runs
def test_proxy_of_a_running_job_is_renewed(shown: Callable[[str], Shown]) -> None:
    """By HTCondor itself, from the file that was submitted; without a shared file system."""
    user = shown("False")
    run = user.site.start()
    report = user.site.place / "found.json"
    run.until(report.exists)
    path = Path(json.loads(report.read_text())["X509_USER_PROXY"][0])
    before = path.read_text()
    new = make_proxy(user.site.folder / "new", days=3).read_text()
    part = secret_file(user.site.folder / "part", new)
    shutil.chown(part, user.site.testbed.user, user.site.testbed.user)
    part.replace(user.proxy)
    until(lambda: path.read_text() == new)
    assert before != new
    user.site.go()
    run.end(30)


def test_expired_token_stops_a_submission(shown: Callable[[str], Shown]) -> None:
    user = shown("True")
    user.site.settings = {**user.site.settings, "BEARER_TOKEN": valid_token(-3600)}
    said = user.site.law()
    assert said.returncode != 0
    assert "CredentialError: the token in BEARER_TOKEN expired 60 min ago" in said.stdout + said.stderr
    assert user.site.submitted() == 0


def test_secret_in_an_error_of_a_local_run(tmp_path: Path) -> None:
    """Not on the terminal, not in ``LAW_HOME``, not in the store."""
    token, store, home = valid_token(), tmp_path / "store", tmp_path / "law"
    home.mkdir()
    ended = subprocess.run(
        ["law", "run", "tests.integration.fault_toys.FaultToy", "--what", "leak+done", "--place", str(tmp_path)],
        env={**os.environ, "ANALYSIS_STORE": str(store), "LAW_HOME": str(home), "BEARER_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 30, said
    assert "ValueError: the server did not like <secret>" in said
    assert token not in said
    assert [
        path for path in [*store.rglob("*"), *home.rglob("*")] if path.is_file() and token.encode() in path.read_bytes()
    ] == []
    assert list(store.rglob("fault_1.txt"))
