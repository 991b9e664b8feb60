"""``job.sh`` fetches its bundles from servers: by whatever client there is, again and again, and verified."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.bundle import Bundle
from tests.engine.backends.batch_jobs import Job, toy_job
from tests.engine.backends.test_job_script import bundle

__all__ = ["bundle"]

NEEDED = (
    *(
        "bash",
        "base64",
        "cat",
        "chmod",
        "cut",
        "date",
        "dirname",
        "grep",
        "gzip",
        "head",
        "id",
        "mkdir",
        "mktemp",
        "mv",
    ),
    *("rm", "rmdir", "sed", "sha256sum", "sh", "tail", "tar", "timeout", "touch", "uname"),
)
"""Programs that a job may take for granted."""
CLIENT = """#!/bin/bash
echo "{name} $*" >> "$HOME/calls"
[[ -z "${{BEARER_TOKEN:-}}" ]] || echo "token $BEARER_TOKEN" >> "$HOME/environment"
for word in "$@"; do
  [[ "$word" != @* ]] || {{ stat -c %a "${{word#@}}"; cat "${{word#@}}"; }} >> "$HOME/headers"
done
source "$HOME/{name}.sh"
"""
LAST = """arguments=$* destination=${@: -1}
for word in "$@"; do [[ "${before:-}" != --output ]] || destination=$word; before=$word; done
destination=${destination#file://}
"""


class Node:
    """A machine with some programs, of which those that fetch do what a test says."""

    def __init__(self, job: Job, bundle: Bundle) -> None:
        self.job, self.bundle, self.home = job, bundle, job.folder / "home"
        self.programs = self.home / "bin"
        self.programs.mkdir(parents=True)
        for name in (*NEEDED, "stat"):
            if path := shutil.which(name):
                (self.programs / name).symlink_to(path)
        (self.programs / "sleep").write_text('#!/bin/sh\necho "sleep $1" >> "$HOME/calls"\n')
        (self.programs / "sleep").chmod(0o755)

    def client(self, name: str, script: str) -> None:
        """A program that fetches; its destination is ``$destination``."""
        (self.programs / name).write_text(CLIENT.format(name=name))
        (self.programs / name).chmod(0o755)
        (self.home / f"{name}.sh").write_text(LAST + script)

    def gives(self, name: str) -> None:
        """A program that works."""
        self.client(name, f'cat {self.bundle.path} > "$destination"\n')

    def run(self, *urls: str, **more: str) -> tuple[int, str, list[str]]:
        """Exit code, what was said, and calls."""
        environment = {
            "ANALYSIS_JOB_REPOSITORY": self.bundle.path.name,
            "ANALYSIS_JOB_BUNDLES": " ".join(f"{url}/.bundles" for url in urls),
            "ANALYSIS_JOB_PATIENCE": "0",
            "PATH": str(self.programs),
            "HOME": str(self.home),
            "X509_CERT_DIR": str(self.home),
            **more,
        }
        ended = replace(self.job, environment=environment).run()
        calls = self.home / "calls"
        said = ended.output if ended.code != 1 else ended.failures[0].sentence
        return ended.code, said, calls.read_text().splitlines() if calls.exists() else []

    def found(self, name: str) -> str:
        return (self.home / name).read_text()


HAS_STARTED = (1, "No module named 'tests'")
"""The module of the toys is not part of the bundle: that the job says so shows that it runs from there."""


@pytest.fixture
def node(store: Path, tmp_path: Path, bundle: Bundle) -> Node:  # noqa: ARG001
    return Node(toy_job(tmp_path, "pass"), bundle)


@pytest.mark.parametrize(
    ("url", "client"),
    [
        ("root://a:1//s", "xrdcp"),
        ("root://a:1//s", "gfal-copy"),
        ("davs://a:1/s", "curl"),
        ("https://a/s", "curl"),
        ("davs://a:1/s", "gfal-copy"),
        ("davs://a:1/s", "davix-get"),
        ("srm://a:1/s", "gfal-copy"),
    ],
)
def test_any_client_will_do(node: Node, url: str, client: str) -> None:
    node.gives(client)
    code, said, calls = node.run(url)
    assert (code, said) == HAS_STARTED
    (call,) = calls
    there = f"{url}/.bundles/{node.bundle.path.name}"
    assert call.startswith(f"{client} ")
    assert (there.replace("davs://", "https://") if client in ("curl", "davix-get") else there) in call


def test_next_client_and_next_server_are_tried(node: Node) -> None:
    node.client("xrdcp", 'echo "no route to host" >&2; exit 1\n')
    node.client("gfal-copy", f'[[ "$arguments" == *//b:1* ]] || exit 1\ncat {node.bundle.path} > "$destination"\n')
    code, said, calls = node.run("root://a:1//s", "root://b:1//s")
    assert (code, said) == HAS_STARTED
    assert [call.split()[0] for call in calls] == ["xrdcp", "gfal-copy", "xrdcp", "gfal-copy"]


def test_it_is_tried_again_after_a_while(node: Node) -> None:
    first = '[[ -e "$HOME/second" ]] || { touch "$HOME/second"; exit 1; }'
    node.client("xrdcp", f'{first}\ncat {node.bundle.path} > "$destination"\n')
    code, said, calls = node.run("root://a:1//s", ANALYSIS_JOB_PATIENCE="100")
    assert (code, said) == HAS_STARTED
    assert [call.split()[0] for call in calls] == ["xrdcp", "sleep", "xrdcp"]


@pytest.mark.parametrize("damage", ["head -c 1000", "sed s/e/f/", "gzip -c"])
def test_what_arrives_damaged_is_not_taken(node: Node, damage: str) -> None:
    node.client("xrdcp", f'{damage} {node.bundle.path} > "$destination"\n')
    code, said, _ = node.run("root://a:1//s")
    assert code == 85
    assert said.strip().endswith(
        f"a bundle of the job cannot be fetched from the store, root://a:1//s/.bundles/{node.bundle.path.name}: "
        "what xrdcp brought is damaged"
    )
    node.gives("gfal-copy")
    assert node.run("root://a:1//s")[:2] == HAS_STARTED


def test_server_that_does_not_answer(node: Node) -> None:
    node.client("curl", 'echo "curl: (7) Failed to connect" >&2; exit 7\n')
    code, said, _ = node.run("davs://a:1/s")
    assert (code, len(said.splitlines())) == (85, 1)
    assert said.strip().endswith(f"davs://a:1/s/.bundles/{node.bundle.path.name}: curl: (7) Failed to connect")


def test_no_client(node: Node) -> None:
    code, said, _ = node.run("root://a:1//s")
    assert code == 85
    assert said.strip().endswith("there is none of xrdcp, gfal-copy on this machine")


def test_token_is_shown_and_not_told(node: Node, tmp_path: Path) -> None:
    token, proxy = tmp_path / "token", tmp_path / "proxy"
    token.write_text("eyJtoken\n")
    proxy.write_text("a proxy")
    for path in (token, proxy):
        path.chmod(0o600)
    node.client("curl", f'[[ "$arguments" != *--header* ]] || exit 22\ncat {node.bundle.path} > "$destination"\n')
    code, said, calls = node.run("davs://a:1/s", BEARER_TOKEN_FILE=str(token), X509_USER_PROXY=str(proxy))
    assert (code, said) == HAS_STARTED
    assert "eyJ" not in "".join(calls)
    assert node.found("headers") == "600\nAuthorization: Bearer eyJtoken\n"
    assert f"--cert {proxy} --key {proxy}" in calls[1]
    assert "--cert" not in calls[0]
    assert not list(node.job.folder.rglob("header"))


def test_gfal_gets_the_token_by_a_variable(node: Node, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("eyJtoken\n")
    (tmp_path / "token").chmod(0o600)
    node.gives("gfal-copy")
    code, said, calls = node.run("davs://a:1/s", BEARER_TOKEN_FILE=str(tmp_path / "token"))
    assert (code, said) == HAS_STARTED
    assert "eyJ" not in "".join(calls)
    assert node.found("environment") == "token eyJtoken\n"


def test_store_that_is_not_there_is_not_made(node: Node, tmp_path: Path) -> None:
    """On a disk of the node, where nobody would look."""
    disk = tmp_path / "disk"
    ended = replace(node.job, edit=lambda spec: replace(spec, disks=(str(disk),))).run()
    assert ended.failures[0].kind is FailureClass.STORAGE
    assert ended.failures[0].sentence == f"the store {disk} is not on this machine"
    assert not disk.exists()
