"""``law run`` of the toys in a sandbox, and what is left of it after a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.engine.process import is_running
from tests.chain import REPOSITORY

TOYS = "tests.engine.sandboxes.sandbox_toys"
PATIENCE = 60.0
SOON = 10.0
"""After which nothing may be left [s]."""


@dataclass(frozen=True)
class Box:
    """A sandbox, and an empty store.

    Args:
        folder: for all that is written.
        sandbox: value of ``--sandbox``.
        variables: more of them.
    """

    folder: Path
    sandbox: str
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def place(self) -> Path:
        """Where toys leave what is no output."""
        return self.folder / "store" / "place"

    def environment(self) -> dict[str, str]:
        self.place.mkdir(parents=True, exist_ok=True)
        (self.folder / "law_home").mkdir(exist_ok=True)
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "ANALYSIS_BASE": str(REPOSITORY),
            "ANALYSIS_STORE": str(self.store),
            "LAW_HOME": str(self.folder / "law_home"),
            "LAW_CONFIG_FILE": str(REPOSITORY / "law.cfg"),
            "ANALYSIS_PROFILE": "local",
            **self.variables,
        }

    def command(self, family: str, *arguments: str) -> list[str]:
        usual = ["--place", str(self.place), "--sandbox", self.sandbox]
        return [sys.executable, "-m", "law", "run", f"{TOYS}.{family}", *usual, *arguments]

    def law(self, family: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(family, *arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def succeed(self, family: str, *arguments: str) -> str:
        """What a run said that ended well."""
        finished = self.law(family, *arguments)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    def fail(self, family: str, *arguments: str) -> str:
        """What a run said whose task failed."""
        finished = self.law(family, *arguments)
        assert finished.returncode == 30, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    def seen(self, *arguments: str) -> dict[str, Any]:
        """What a task sees."""
        self.succeed("SandboxToy", *arguments)
        found: dict[str, Any] = json.loads(next(self.store.rglob("seen.json")).read_text())
        return found

    @contextmanager
    def waiting(self, family: str, what: str, *arguments: str) -> Iterator[Waiting]:
        """A run, when all that it starts has been started."""
        log = self.folder / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                self.command(family, "--what", what, *arguments),
                env=self.environment(),
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        wanted = len(what.split("+")) if "1" not in arguments else 1
        try:
            assert until(lambda: len(self._waits()) == wanted or process.poll() is not None), log.read_text()
            inside = [pid for path in self._waits() for pid in json.loads(path.read_text())]
            assert process.poll() is None, log.read_text()
            yield Waiting(process, sorted({*inside, *_below(process.pid)}))
        finally:
            for pid in (process.pid, *_below(process.pid)):
                if is_running(pid):
                    os.kill(pid, signal.SIGKILL)
            process.wait()

    def _waits(self) -> list[Path]:
        return [path for path in self.place.glob("waits_*") if path.suffix != ".new"]


@dataclass(frozen=True)
class Waiting:
    """A run whose tasks wait for ever.

    Args:
        process: of ``law run``.
        others: all processes that it started, by whatever way.
    """

    process: subprocess.Popen[bytes]
    others: list[int]

    def left(self) -> list[int]:
        """Processes that are still there."""
        return [pid for pid in self.others if is_running(pid)]


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Wait until something is so; whether it is."""
    end = time.monotonic() + seconds
    while not (found := bool(condition())) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def _below(pid: int) -> list[int]:
    from analysis.engine.backends.tree import descendants

    return descendants(pid)
