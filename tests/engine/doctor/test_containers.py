from __future__ import annotations

import builtins
import importlib.util
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.doctor import containers
from analysis.engine.doctor.finding import Finding, Level
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]

VERSION = {"Version": "27.1.0", "ApiVersion": "1.43", "MinAPIVersion": "1.24", "Platform": {"Name": "Docker Engine"}}


@contextmanager
def daemon(path: Path, version: dict[str, Any] | None = None, status: int = 200) -> Iterator[str]:
    """Something that answers at a socket as the daemon does when it is asked for its version; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(version or VERSION).encode() if self.path.endswith("/version") else b"{}"
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A path short enough for a socket."""
    return Path(os.path.relpath(tmp_path / "docker.sock")) if len(str(tmp_path)) > 90 else tmp_path / "docker.sock"


@pytest.fixture(params=["sdk", "http"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to ask the daemon."""
    name = str(request.param)
    if name == "http":
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda module, *a: None if module == "docker" else find(module, *a)
        )
        before = builtins.__import__

        def refuse(module: str, *arguments: Any, **options: Any) -> Any:
            assert module != "docker"
            return before(module, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", refuse)
    elif importlib.util.find_spec("docker") is None:
        pytest.skip("the Docker SDK for Python is not installed")
    return name


@pytest.mark.usefixtures("client")
def test_a_daemon_that_answers(place: Path) -> None:
    with daemon(place) as address:
        (found,) = containers.docker({"DOCKER_HOST": address})
    user = containers._name_of_user(os.getuid())
    assert found.level == Level.GREEN, found
    assert found.found.startswith(f"docker 27.1.0 at {address}; {place} is of {user}:")
    assert f"; you are {user} in " in found.found


@pytest.mark.usefixtures("client")
def test_podman_is_called_so(place: Path) -> None:
    with daemon(place, {**VERSION, "Components": [{"Name": "Podman Engine"}]}) as address:
        (found,) = containers.docker({"DOCKER_HOST": address})
    assert found.found.startswith("podman 27.1.0 at ")


@pytest.mark.usefixtures("client")
def test_a_daemon_that_is_gone(place: Path) -> None:
    with daemon(place) as address:
        pass
    (found,) = containers.docker({"DOCKER_HOST": address})
    assert (found.level, found.found) == (Level.YELLOW, f"no answer from {address} (connection refused)")
    assert found.advice == "start the daemon, or correct DOCKER_HOST"


@pytest.mark.usefixtures("client")
def test_a_daemon_that_is_ill(place: Path) -> None:
    with daemon(place, status=500) as address:
        (found,) = containers.docker({"DOCKER_HOST": address})
    assert found.level == Level.YELLOW
    assert found.found.startswith(f"no answer from {address} (")


def test_a_daemon_that_hangs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "TIMEOUT", 1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(place))
        silent.listen()
        (found,) = containers.docker({"DOCKER_HOST": f"unix://{place}"})
    assert found.level == Level.YELLOW
    assert "timed out" in found.found


AS_NOBODY = """
import os, sys
import law
from analysis.engine.doctor import containers
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for finding in containers.docker({"DOCKER_HOST": "unix://" + sys.argv[1]}):
    print(finding.level.value, finding.found, finding.advice, sep="|")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_daemon_of_others() -> None:
    place = Path("/var/tmp") / f"doctor-{os.getpid()}.sock"  # others may reach it
    try:
        with daemon(place):
            place.chmod(0o660)
            said = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, place],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            os.chown(place, 0, 12345)
            assert "'usermod -aG 12345 " in containers._joining(place)
    finally:
        place.unlink(missing_ok=True)
    level, found, advice = said.rstrip("\n").split("|")
    assert level == "yellow"
    assert found.startswith(f"{place} is of root:root, 0660; you are ")
    assert advice == "ask the administrator for a group that may use it, or use rootless docker or apptainer"


def test_where_a_daemon_is(tmp_path: Path) -> None:
    (tmp_path / "podman").mkdir()
    (tmp_path / "podman" / "podman.sock").touch()
    own = {"XDG_RUNTIME_DIR": str(tmp_path)}
    if not Path("/var/run/docker.sock").exists():
        assert containers.docker_address(own) == f"unix://{tmp_path}/podman/podman.sock"
        (tmp_path / "docker.sock").touch()
        assert containers.docker_address(own) == f"unix://{tmp_path}/docker.sock"
    assert containers.docker_address({**own, "DOCKER_HOST": "tcp://h:1"}) == "tcp://h:1"


def test_no_docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, configure: Configure) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(containers, "docker_address", lambda _: None)
    configure("sandboxes", default="none", TrainModel="venv")
    (found,) = containers.docker({})
    assert (found.level, found.found) == (Level.GREY, "neither docker nor podman is installed")
    configure("sandboxes", default="docker")
    (found,) = containers.docker({})
    assert found.level == Level.RED
    assert found.found.endswith(", and section sandboxes of law.cfg asks for it")


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The only directory of ``PATH``."""
    folder = tmp_path / "prefix" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_no_apptainer(path: Path, configure: Configure) -> None:
    assert list(path.iterdir()) == []
    configure("sandboxes", default="none")
    (found,) = containers.apptainer()
    assert (found.level, found.found) == (Level.GREY, "neither apptainer nor singularity is on PATH")
    configure("sandboxes", default="none", X="singularity::/image.sif")
    (found,) = containers.apptainer()
    assert found.level == Level.RED


def test_apptainer_that_may_not_mount_images(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "apptainer", "echo apptainer version 1.5.0")
    program(path, "unshare", "exit 0")
    monkeypatch.setattr(containers, "may_mount", lambda: False)
    (found,) = containers.apptainer()
    assert found.found == "apptainer version 1.5.0, but this user may not open /dev/fuse, by which it mounts images"
    assert "chmod 666" in found.advice


def test_apptainer_that_starts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "FUSE", path)  # this user's own
    program(path, "singularity", "echo singularity-ce version 4.1.0")
    program(path, "unshare", "exit 0")
    (found,) = containers.apptainer()
    assert found == Finding("apptainer", Level.GREEN, "singularity-ce version 4.1.0, starts unprivileged")


def test_apptainer_without_namespaces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "apptainer", "echo apptainer version 1.4.0")
    program(path, "unshare", "echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (found,) = containers.apptainer()
    assert found.level == Level.YELLOW
    assert found.found == (
        "apptainer version 1.4.0, but may not start containers: unshare: unshare failed: Operation not permitted"
    )
    starter = path.parent / "libexec" / "apptainer" / "bin" / "starter-suid"
    starter.parent.mkdir(parents=True)
    starter.touch()
    starter.chmod(0o4755)
    (found,) = containers.apptainer()
    assert found == Finding("apptainer", Level.GREEN, "apptainer version 1.4.0, starts by its setuid program")


def test_apptainer_that_is_broken(path: Path) -> None:
    program(path, "apptainer", "echo 'no such library' >&2; exit 127")
    (found,) = containers.apptainer()
    assert (found.level, found.found) == (
        Level.YELLOW,
        f"{path / 'apptainer'} does not start (no such library)",
    )
