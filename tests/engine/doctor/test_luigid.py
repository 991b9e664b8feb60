from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from analysis.engine.doctor import luigid
from analysis.engine.doctor.finding import Finding, Level


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def answering(body: str, status: int = 200, ahead: float = 0.0) -> Iterator[str]:
    """Something that answers each request so; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(status)
            self.send_header("Date", formatdate(time.time() + ahead, usegmt=True))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A real ``luigid``; its port."""
    port, folder = free_port(), tmp_path_factory.mktemp("luigid")
    code = "from luigi.cmdline import luigid; luigid()"
    options = ["--address", "127.0.0.1", "--port", str(port), "--state-path", str(folder / "state")]
    command = [sys.executable, "-c", code, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stderr is not None
        try:
            said = ""
            while "Scheduler starting up" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            yield port
        finally:
            process.terminate()


def test_a_real_one(real: int) -> None:
    found, clock = luigid.at(f"http://127.0.0.1:{real}")
    assert found.level == Level.GREEN
    assert re.fullmatch(rf"http://127\.0\.0\.1:{real}, [\d.e+]+ ms, TornadoServer/[\d.]+", found.found)
    assert clock == Finding("clock luigid", Level.GREEN, "the same as here")


def test_none() -> None:
    port = free_port()
    (found,) = luigid.at(f"http://127.0.0.1:{port}")
    assert (found.level, found.found) == (Level.RED, f"http://127.0.0.1:{port}: connection refused")
    assert found.advice.startswith(
        f"start it with 'law luigid --address 127.0.0.1 --port {port}', or set local_scheduler"
    )


def test_one_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(luigid, "TIMEOUT", 0.1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        (found,) = luigid.at(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert found.level == Level.RED
    assert "no answer within 0 s" in found.found


@pytest.mark.parametrize(
    ("body", "status"), [("<html>", 200), ("{}", 200), ('{"response": []}', 200), ("no", 403), ("[]", 200)]
)
def test_something_else(body: str, status: int) -> None:
    with answering(body, status) as url:
        (found,) = luigid.at(url)
    assert (found.level, found.found) == (Level.RED, f"{url}: something else answers there")


def test_paused_and_with_a_wrong_clock() -> None:
    with answering('{"response": {"paused": true}}', ahead=120) as url:
        found, clock = luigid.at(url)
    assert found.level == Level.YELLOW
    assert "paused" in found.found
    assert (clock.level, clock.advice) == (Level.YELLOW, "have the clocks of both machines set by NTP")
    assert clock.found in {"119 s ahead of this machine", "120 s ahead of this machine"}


def test_when_it_is_not_used(monkeypatch: pytest.MonkeyPatch, core: Callable[..., None]) -> None:
    monkeypatch.delenv("ANALYSIS_JOB_BACKEND", raising=False)
    core(local_scheduler="True")
    (found,) = luigid.look()
    assert (found.level, found.found.partition(":")[0]) == (Level.GREY, "not used")
    port = free_port()
    core(local_scheduler="False", scheduler_host="127.0.0.1", scheduler_port=str(port))
    (found,) = luigid.look()
    assert (found.level, found.found) == (Level.RED, f"http://127.0.0.1:{port}: connection refused")
    core(local_scheduler="False", scheduler_url=f"http://127.0.0.1:{port}/")
    (found,) = luigid.look()
    assert found.found.startswith(f"http://127.0.0.1:{port}/: ")
    monkeypatch.setenv("ANALYSIS_JOB_BACKEND", "htcondor")
    assert [finding.level for finding in luigid.look()] == [Level.GREY]


@pytest.fixture
def core() -> Iterator[Callable[..., None]]:
    """Sets options of luigi's section ``core``; what was there comes back."""
    import luigi

    config = luigi.configuration.get_config()
    names = ("local_scheduler", "scheduler_host", "scheduler_port", "scheduler_url")
    before = {name: config.get("core", name, None) for name in names}

    def write(**options: str | None) -> None:
        for name in names:
            if options.get(name) is not None:
                config.set("core", name, options[name])
            elif config.has_option("core", name):
                config.remove_option("core", name)

    yield write
    write(**before)
