"""Plain law and ours, side by side: the same tasks in the same sandboxes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from law.parameter import NO_STR

from analysis.engine.backends.tree import descendants
from analysis.engine.process import is_running
from benchmarks.plain_law.settings import NEEDED, Sections, settings_of, written
from tests.chain import REPOSITORY
from tests.engine.sandboxes.runs import until
from tests.integration.sandbox_fixtures import Containers

Settings = Mapping[str, Sections]
"""Sections of ``law.cfg`` by side; they replace the usual ones."""

MODULES = {"plain": "benchmarks.plain_law.sandboxed.Plain", "ours": "benchmarks.sandboxed_ours.Our"}


@dataclass(frozen=True)
class Side:
    """One of both.

    Args:
        name: ``plain`` or ``ours``.
        folder: for its files.
        containers: images and daemon.
    """

    name: str
    folder: Path
    containers: Containers

    @property
    def is_ours(self) -> bool:
        return self.name == "ours"

    @property
    def place(self) -> Path:
        """Where tasks leave what is no output; in the store."""
        return self.folder / "store" / "place"

    def sandbox(self, kind: str) -> str:
        """Name of a sandbox; ``bash`` is a script that does nothing."""
        if kind == "none":
            return kind if self.is_ours else NO_STR
        if kind == "bash":
            script = self.folder / "nothing.sh"
            script.touch()
            return f"bash::{script}"
        if self.is_ours:
            return kind
        return f"{kind.replace('apptainer', 'singularity')}::{self.containers.name(kind, 'columnar')}"

    def run(
        self,
        family: str,
        sandbox: str,
        *arguments: str,
        settings: Settings | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """``law run`` of a task, by what its name ends with on both sides."""
        environment = {**self.environment(settings), **(variables or {})}
        command = self._command(family, sandbox, *arguments)
        return subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def succeed(self, family: str, sandbox: str, *arguments: str, **options: Any) -> None:
        """The same, which has to end well."""
        finished = self.run(family, sandbox, *arguments, **options)
        assert finished.returncode == 0, finished.stdout + finished.stderr

    @contextmanager
    def waiting(self, sandbox: str) -> Iterator[tuple[int, int]]:
        """A run whose task waits: the process of law, and that of the task; both end with the block."""
        command = self._command("Sandboxed", sandbox, "--what", "wait")
        log, waits = self.folder / "log", self.place / "waits"
        with log.open("wb") as file:
            law = subprocess.Popen(
                command, env=self.environment(), cwd=self.folder, stdout=file, stderr=file, start_new_session=True
            )
        pids = [law.pid]
        try:
            assert until(lambda: waits.exists() or law.poll() is not None), log.read_text()
            assert law.poll() is None, log.read_text()
            pids += [int(waits.read_text()), *descendants(law.pid)]
            yield law.pid, pids[1]
        finally:
            for pid in pids:
                if is_running(pid):
                    os.kill(pid, signal.SIGKILL)
            law.wait()

    def seen(self, number: int = 0) -> dict[str, Any]:
        """What a task saw."""
        (path,) = (self.folder / "store").rglob(f"seen_{number}.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def failure(self) -> list[str]:
        """Type and text of the error that arrived outside."""
        found: list[str] = json.loads((self.place / "failure.json").read_text())
        return found

    def environment(self, settings: Settings | None = None) -> dict[str, str]:
        """Of ``law run``."""
        self.place.mkdir(parents=True, exist_ok=True)
        (self.folder / "home").mkdir(exist_ok=True)
        usual = {name: value for name, value in os.environ.items() if not name.startswith(("LAW_", "LUIGI_"))}
        return {
            **usual,
            "PATH": f"{Path(sys.executable).parent}:{self.containers.folder}/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "LAW_HOME": str(self.folder / "home"),
            "LAW_CONFIG_FILE": str(self._configured(settings)),
            "LAW_SOFTWARE_DEPS": NEEDED,
            "DOCKER_HOST": self.containers.variables["DOCKER_HOST"],
            **(self._our_environment() if self.is_ours else {}),
        }

    def usual(self) -> Sections:
        """Sections of ``law.cfg`` that a test does not name."""
        if self.is_ours:
            return {"core": {"inherit": f"{REPOSITORY}/law.cfg"}}
        return settings_of(self.place, self.containers.folder / "bin")

    def _our_environment(self) -> dict[str, str]:
        place = {"ANALYSIS_BASE": str(REPOSITORY), "ANALYSIS_STORE": str(self.folder / "store")}
        return {**self.containers.variables, **place, "ANALYSIS_PROFILE": "local"}

    def _configured(self, settings: Settings | None) -> Path:
        """A ``law.cfg``; ours adds to that of the repository."""
        path = self.folder / "law.cfg"
        path.write_text(written({**self.usual(), **(settings or {}).get(self.name, {})}))
        return path

    def _command(self, family: str, sandbox: str, *arguments: str) -> list[str]:
        usual = ["--place", str(self.place), "--sandbox", sandbox]
        name = family if "." in family else f"{MODULES[self.name]}{family}"
        return [sys.executable, "-m", "law", "run", name, *usual, *arguments]


@pytest.fixture
def side(request: pytest.FixtureRequest, tmp_path: Path, containers: Containers) -> Side:
    """``plain`` or ``ours``."""
    return Side(request.param, tmp_path, containers)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A scheduler of luigi, which has a task tried twice, at once: options of section ``luigi_core``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = tmp_path / "luigid.cfg"
    settings.write_text("[scheduler]\nretry_count=2\nretry_delay=0\nprune_on_get_work=true\n")
    command = [sys.executable, "-c", "from luigi.cmdline import luigid; luigid()", "--port", str(port)]
    variables = {**os.environ, "LUIGI_CONFIG_PATH": str(settings)}
    with (tmp_path / "luigid.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--state-path", str(tmp_path / "state")], env=variables, cwd=tmp_path, stdout=log, stderr=log
        )

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        assert until(answers), (tmp_path / "luigid.log").read_text()
        yield {
            "local_scheduler": "False",
            "no_lock": "True",
            "scheduler_host": "127.0.0.1",
            "scheduler_port": str(port),
            # to be given up soon
            "rpc_connect_timeout": "2",
            "rpc_retry_attempts": "1",
            "rpc_retry_wait": "1",
        }
    finally:
        process.terminate()
        process.wait()
