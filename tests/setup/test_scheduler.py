from __future__ import annotations

import json
import socket
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.setup.conftest import Project

pytestmark = pytest.mark.integration


@contextmanager
def scheduler(project: Project) -> Iterator[int]:
    """Run ``law luigid``; yields its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = f'source "$SETUP"; exec law luigid --address 127.0.0.1 --port {port}'
    variables = project.variables(SETUP=str(project.path / "setup.sh"))
    with subprocess.Popen(["bash", "-c", command], env=variables, stderr=subprocess.PIPE, text=True) as process:
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


def page(port: int, path: str) -> str:
    with urlopen(f"http://127.0.0.1:{port}/{path}") as answer:
        assert answer.status == 200
        text: str = answer.read().decode()
    return text


def done_tasks(port: int) -> set[str]:
    request = quote(json.dumps({"status": "DONE"}))
    return set(json.loads(page(port, f"api/task_list?data={request}"))["response"])


def test_scheduler_shows_and_remembers_a_run(ready: Project) -> None:
    with scheduler(ready) as port:
        run = f'source "$SETUP"; law run FitModel --scheduler-port {port}'
        assert ready.shell(f"{run} --version inside").returncode == 0
        assert done_tasks(port) == set()

        assert ready.shell(f"{run} --version option --local-scheduler False").returncode == 0
        assert len(done_tasks(port)) == 1

        assert ready.shell(f"export LAW__luigi_core__local_scheduler=False; {run} --version variable").returncode == 0
        assert len(done_tasks(port)) == 2

        assert "FitModel" in page(port, "history")
        assert "FitModel" in page(port, "history/by_name/FitModel")
        assert "Luigi Task Visualiser" in page(port, "static/visualiser/index.html")


def test_exit_codes_tell_failure_from_success(ready: Project) -> None:
    assert ready.shell('source "$SETUP"; law run FitModel').returncode == 0
    failed = ready.shell('source "$SETUP"; law run FitModel --version other --unblind True')
    assert failed.returncode == 30
    assert failed.stderr.count("ValueError: not yet") == 1  # said once, by one handler
