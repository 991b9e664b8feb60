"""Workflows on a real batch system, in a store and a ``LAW_HOME`` of their own."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.batch_queue import PATIENCE, Queue, until
from tests.testbed import System, Testbed

QUICK = {
    "ANALYSIS_PROFILE": "local",
    "LAW__batch__job_files": "tests",
    "LAW__batch__output_delay": "2s",
    "LAW__batch__retry_delay": "1s",
    "LAW__batch__forward_env": "TOY_SETTING",
}


def command_lines() -> list[str]:
    """Of all processes on this machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # ended meanwhile
            found.append(path.read_text(errors="replace").replace("\0", " "))
    return found


@pytest.fixture(scope="module", params=["htcondor", "slurm"])
def system(request: pytest.FixtureRequest) -> System:
    """One system after the other."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, System)
    return found


@contextmanager
def making(testbed: Testbed, system: System) -> Iterator[Callable[..., Site]]:
    """What makes sites, which are removed in the end, with their jobs."""
    with ExitStack() as stack:
        yield lambda what, *options, **settings: stack.enter_context(
            closing(Site(testbed, system, what, options, settings))
        )


@pytest.fixture(scope="module")
def module_sites(testbed: Testbed, system: System) -> Iterator[Callable[..., Site]]:
    """Makes sites that stay for all tests of a module."""
    with making(testbed, system) as make:
        yield make


@pytest.fixture
def sites(testbed: Testbed, system: System) -> Iterator[Callable[..., Site]]:
    """Makes sites for one test."""
    with making(testbed, system) as make:
        yield make


@dataclass
class Running:
    """A ``law run`` in the background, with its output."""

    process: subprocess.Popen[str]
    log: Path

    def said(self, text: str) -> bool:
        """Whether it has said something that contains a text."""
        return text in self.output()

    def output(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is true, as long as it runs."""
        try:
            until(lambda: condition() or self.has_ended())
        except AssertionError as error:
            raise AssertionError(self.output()) from error
        assert condition(), self.output()

    def until_said(self, text: str) -> None:
        """Wait until it has said something that contains a text."""
        self.until(lambda: self.said(text))

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes, as a terminal does."""
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """Kill it and its workers, and not the programs that these have called."""
        workers = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for process in (self.process.pid, *map(int, workers)):
            os.kill(process, signal.SIGKILL)
        self.end(-signal.SIGKILL)

    def end(self, code: int = 0) -> str:
        """Wait for its end.

        Returns:
            Its output.
        """
        found = self.process.wait(timeout=2 * PATIENCE)
        assert found == code, (found, self.output())
        return self.output()


@dataclass
class Site:
    """A store and a ``LAW_HOME`` of the user, and ``law run FaultToy`` there.

    Args:
        testbed: both systems.
        system: the one where jobs go.
        what: of the toys.
        options: of ``law run``.
        settings: variables.
    """

    testbed: Testbed
    system: System
    what: str
    options: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    folder: Path = field(init=False)
    store: Path = field(init=False)
    home: Path = field(init=False)
    place: Path = field(init=False)
    _runs: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        # the systems remember the jobs of earlier tests by their directory
        self.folder = self.testbed.scratch(f"{self.system.name}-{secrets.token_hex(4)}")
        self.store, self.home, self.place = (self.folder / name for name in ("store", "law", "place"))
        self.make(self.place)

    def make(self, folder: Path) -> Path:
        """Make a directory of the user."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.chown(folder, self.testbed.user, self.testbed.user)
        return folder

    @property
    def queue(self) -> Queue:
        return Queue(self.testbed, self.system, self.home)

    def submitted(self) -> int:
        """Number of jobs there ever were."""
        return len(self.queue.jobs())

    # law run

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {**QUICK, "ANALYSIS_STORE": str(self.store), "LAW_HOME": str(self.home), **self.settings, **more}

    def command(self, *arguments: str, program: tuple[str, ...] = ("law", "run")) -> tuple[str, ...]:
        task = ("tests.integration.fault_toys.FaultToy", "--what", self.what, "--place", str(self.place))
        usual = ("--workflow", self.system.name, "--poll-interval", "0.5s", "--memory", "300MB")
        return (*program, *task, *usual, *self.options, *arguments)

    def law(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """``law run`` to its end."""
        return self.testbed.as_user(
            *self.command(*arguments), environment=self.environment(environment), folder=self.folder
        )

    def succeed(self, *arguments: str, **environment: str) -> str:
        """``law run`` that ends well; what it said."""
        finished = self.law(*arguments, **environment)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    def fail(self, *arguments: str, **environment: str) -> str:
        """``law run`` that ends because of a task that failed; what it said."""
        finished = self.law(*arguments, **environment)
        assert finished.returncode == 30, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    def start(self, *arguments: str, program: tuple[str, ...] = ("law", "run"), **environment: str) -> Running:
        """``law run`` in the background."""
        log = self.folder / f"run_{len(self._runs)}.txt"
        line = ("bash", "-c", 'exec "$@" > "$LOG" 2>&1', "bash", *self.command(*arguments, program=program))
        process = self.testbed.start_as_user(
            *line, environment={**self.environment(environment), "LOG": str(log)}, folder=self.folder
        )
        self._runs.append(Running(process, log))
        return self._runs[-1]

    def own_python(self) -> Path:
        """The Python of an environment of its own, which a test can remove: links to the real one."""
        environment, real = self.folder / "environment", self.testbed.python.parents[1]
        (environment / "bin").mkdir(parents=True)
        for path in ("bin/python", "lib"):
            (environment / path).symlink_to(real / path)
        shutil.copy(real / "pyvenv.cfg", environment)
        return environment / "bin" / "python"

    def wrap(self, program: str, script: str) -> str:
        """Have a shell script called in place of a program, which it knows as ``$REAL``; and our place as ``$PLACE``.

        Returns:
            The ``PATH`` with which that happens.
        """
        path, usual = self.make(self.folder / "bin") / program, self.testbed.environment()["PATH"]
        real = shutil.which(program, path=usual)
        path.write_text(f"#!/bin/bash\nREAL={shlex.quote(str(real))} PLACE={shlex.quote(str(self.place))}\n{script}\n")
        path.chmod(0o755)
        return f"{path.parent}:{usual}"

    # branches

    def begun(self) -> dict[int, int]:
        """Attempts by branch, of those that have begun."""
        return {
            int(path.name.partition("_")[2]): len(path.read_text().splitlines())
            for path in self.place.glob("attempts_*")
        }

    def go(self) -> None:
        """Open the gate."""
        (self.place / "go").touch()

    def done(self) -> set[int]:
        """Branches whose output is there."""
        return {int(path.stem.partition("_")[2]) for path in self.store.rglob("fault_*.txt")}

    def results(self) -> dict[int, list[str]]:
        """Results of the attempts of each branch, as the names of logs tell."""
        found: dict[int, list[str]] = {}
        for name in sorted(path.name for path in self.store.rglob("*.log.gz")):
            branch, _, _, result, *_ = name.split(".")
            found.setdefault(int(branch), []).append(result)
        return found

    # ledger

    def select(self, query: str) -> list[tuple[object, ...]]:
        """Rows of the ledger."""
        path = self.home / "jobs" / "ledger.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query).fetchall()

    def ids(self) -> dict[int, str]:
        """Ids of the last attempts by branch, as far as they are known."""
        rows = self.select("SELECT branch, id FROM attempts JOIN jobs ON job = jobs.number ORDER BY attempts.number")
        return {int(str(branch)): str(job) for branch, job in rows if job}

    def attempts(self) -> dict[int, list[str]]:
        """Why the attempts of each branch failed, or what else became of them; none after all is done."""
        rows = self.select("SELECT branch, coalesce(failure, result, '') FROM attempts ORDER BY branch, number")
        found: dict[int, list[str]] = {}
        for branch, result in rows:
            found.setdefault(int(str(branch)), []).append(str(result))
        return found

    def close(self) -> None:
        """Leave nothing running behind."""
        for run in self._runs:
            if not run.has_ended():
                run.signal(signal.SIGKILL)
            run.process.wait()
            if run.process.stdout:
                run.process.stdout.close()
        for job in self.queue.waiting():
            self.queue.remove(job)
        until(lambda: not self.queue.waiting())
        shutil.rmtree(self.folder, ignore_errors=True)  # of what was removed, output may come in late
