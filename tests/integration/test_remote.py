"""Input files that are read over the network."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chain import Law
from tests.integration.conftest import write_campaign

pytestmark = pytest.mark.integration

SERVER = """
import sys
from aiohttp import web

app = web.Application()
app.add_routes([web.static("/", sys.argv[1])])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), print=lambda *_: print("ready", flush=True))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def server(small_files: dict[str, list[str]]) -> Iterator[str]:
    """Address of a web server that has the small files."""
    folder, port = Path(small_files["ttbar"][0]).parent, free_port()
    command = [sys.executable, "-c", SERVER, str(folder), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def test_files_on_a_web_server_give_the_same_selection(
    law: Law, server: str, small_files: dict[str, list[str]], tmp_path: Path
) -> None:
    local = {"ttbar": small_files["ttbar"]}
    remote = {"ttbar": [f"{server}/{Path(path).name}" for path in small_files["ttbar"]]}
    tables = [
        law.succeed("PlotCutflow", "--campaign", write_campaign(tmp_path / name, files)).stdout
        for name, files in (("local.yaml", local), ("remote.yaml", remote))
    ]
    assert "exactly one lepton" in tables[0]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("reachable", [True, False])
def test_file_that_cannot_be_had_is_not_called_damaged(
    law: Law, server: str, tmp_path: Path, reachable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAW__inputs__patience", "0")
    url = f"{server}/nowhere.root" if reachable else f"http://127.0.0.1:{free_port()}/ttbar_0.root"
    campaign = write_campaign(tmp_path / "remote.yaml", {"ttbar": [url]})
    finished = law("IndexFiles", "--campaign", campaign, "--dataset", "ttbar")
    assert finished.returncode == 30
    error = "NotFoundError" if reachable else "OutageError"
    assert f"{error}: read {url}: " in finished.stderr
    assert ("http 404 not found" if reachable else "nothing is known of what is there") in finished.stderr
    assert "damaged" not in finished.stderr
    assert "Traceback" not in finished.stderr
