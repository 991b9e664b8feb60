"""Provocations under which plain law reports a wrong result, or doubles jobs; the engine does not.

What fails at a certain moment is made to fail by stand-ins for the commands of the system: they call the real ones.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.clients import SUBMIT
from tests.integration.batch import Running, system
from tests.integration.batch_queue import PATIENCE, Queue, until
from tests.testbed import System, Testbed
from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "slurm", "system", "testbed"]

pytestmark = pytest.mark.integration

QUERY = {"htcondor": "condor_q", "slurm": "squeue"}
STAND_IN = """#!/usr/bin/env bash
count() {{ echo >> {log}; wc -l < {log}; }}  # which call this is
real() {{ {real} "$@"; }}
# ends each "law run" above
kill_caller() {{
  local pid=${{PPID}}
  while ((pid > 1)); do
    if tr '\\0' ' ' < "/proc/${{pid}}/cmdline" | grep -q 'law run'; then kill -KILL "${{pid}}"; fi
    pid=$(awk '/^PPid:/ {{print $2}}' "/proc/${{pid}}/status") || return
  done
}}
{code}
"""
FAILS = 'if [[ "$(count)" == {call} ]]; then echo "try again later" >&2; exit 1; fi; real "$@"'
KILLS_CALLER = 'real "$@"; if (($(count) >= {call})); then kill_caller; fi'


@dataclass
class Side:
    """A workflow of plain law or of the engine, in a place of its own.

    Args:
        testbed: both systems.
        system: where jobs go.
        task: family.
        usual: options of each run.
    """

    testbed: Testbed
    system: System
    task: str
    usual: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    folder: Path = field(init=False)
    _runs: list[Running] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.testbed.scratch(f"{self.system.name}-{secrets.token_hex(4)}")
        for name in ("store", "law", "bin"):
            (self.folder / name).mkdir()
            shutil.chown(self.folder / name, self.testbed.user, self.testbed.user)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def queue(self) -> Queue:
        return Queue(self.testbed, self.system, self.folder)

    def jobs(self) -> int:
        """How many were submitted, ever."""
        return len(self.queue.jobs())

    def outputs(self) -> dict[str, str]:
        """Contents of the outputs by name."""
        return {path.name: path.read_text() for path in self.store.rglob("*.txt")}

    def output(self, branch: int) -> Path:
        return next(self.store.rglob(f"{branch}.txt"))

    def stand_in(self, command: str, code: str) -> None:
        """Put a script before a command of the system."""
        path = self.folder / "bin" / command
        log = self.folder / f"{command}.calls"
        log.touch()
        log.chmod(0o666)
        real = self.testbed.directory / self.system.name / "bin" / command
        path.write_text(STAND_IN.format(real=real, log=log, code=code))
        path.chmod(0o755)

    def environment(self) -> dict[str, str]:
        usual = self.testbed.environment()
        return {
            "PATH": f"{self.folder / 'bin'}:{usual['PATH']}",
            "LAW_HOME": str(self.folder / "law"),
            **self.settings,
        }

    def law(self, *options: str) -> tuple[int, str]:
        """Exit code of ``law run``, and what it said."""
        done = self.testbed.as_user(
            *self._line(*options), environment=self.environment(), folder=self.folder, timeout=2 * PATIENCE
        )
        return done.returncode, done.stdout + done.stderr

    def start(self, *options: str) -> Running:
        """``law run`` in the background."""
        log = self.folder / f"run_{len(self._runs)}.log"
        line = ("bash", "-c", 'exec "$@" > "$LOG" 2>&1', "bash", *self._line(*options))
        process = self.testbed.start_as_user(
            *line, environment={**self.environment(), "LOG": str(log)}, folder=self.folder
        )
        self._runs.append(Running(process, log))
        return self._runs[-1]

    def _line(self, *options: str) -> tuple[str, ...]:
        return ("law", "run", self.task, "--workflow", self.system.name, *self.usual, *options)

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
        shutil.rmtree(self.folder)


Sides = Callable[[System], tuple[Side, Side]]


@pytest.fixture
def sides(testbed: Testbed) -> Iterator[Sides]:
    """Makes both sides; plain law comes first."""
    with ExitStack() as stack:

        def make(system: System) -> tuple[Side, Side]:
            usual = ("--poll-interval", "1s")
            plain = Side(
                testbed,
                system,
                "benchmarks.plain_law.tasks.PlainJobs",
                (*usual, "--poll-fails", "0", "--transfer-logs"),
            )
            plain.settings = {
                "PLAIN_LAW_STORE": str(plain.store),
                "PLAIN_LAW_DATA": str(plain.folder / "law"),
                "LAW_CONFIG_FILE": str(testbed.repository / "benchmarks" / "plain_law" / "law.cfg"),
            }
            ours = Side(testbed, system, "benchmarks.batch_ours.OurJobs", (*usual, "--no-canary"))
            ours.settings = {
                "ANALYSIS_PROFILE": "local",
                "ANALYSIS_STORE": str(ours.store),
                "LAW__batch__job_files": "benchmarks",
                "LAW__batch__output_delay": "2s",
                "LAW__batch__retry_delay": "1s",
                "LAW__htcondor__client": "tools",
            }
            return stack.enter_context(closing(plain)), stack.enter_context(closing(ours))

        yield make


@contextmanager
def full_disk(folder: Path, user: str, kilobytes: int) -> Iterator[Path]:
    """A small file system, and a file that fills it.

    Args:
        folder: where it is mounted.
        user: owner.
        kilobytes: its size.

    Yields:
        The file.
    """
    mount = ("mount", "-t", "tmpfs", "-o", f"size={kilobytes}k,uid={user},gid={user}", "test", str(folder))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted: run as root, outside of an unprivileged container")
    try:
        filler = folder / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(2048 * kilobytes))
        yield filler
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_full_disk(sides: Sides, system: System) -> None:
    """Plain law leaves an empty file, which then counts as the result."""
    plain, ours = sides(system)
    with full_disk(plain.store, plain.testbed.user, 64) as filler:
        (plain.store / "jobs_1").mkdir(mode=0o777)
        (plain.store / "jobs_1").chmod(0o777)
        plain.law("--n", "1", "--retries", "0")
        filler.unlink()
        code, said = plain.law("--n", "1")
        assert (code, plain.outputs()) == (0, {"0.txt": ""}), said

    with full_disk(ours.store, ours.testbed.user, 1024) as filler:
        code, said = ours.law("--n", "1", "--retries", "0")
        assert code != 0, said
        assert "o space left" in said
        filler.unlink()
        code, said = ours.law("--n", "1")
        assert (code, ours.outputs()) == (0, {"0.txt": "0"}), said


def test_first_look_fails_after_a_resume(sides: Sides, system: System) -> None:
    """Plain law forgets to look whether what has finished is there."""
    for side, is_noticed in zip(sides(system), (False, True), strict=True):
        side.law("--n", "3", "--no-poll")
        until(lambda s=side: len(s.outputs()) == 3 and not s.queue.waiting())  # type: ignore[misc]
        side.output(1).unlink()
        # before it begins, the engine asks HTCondor whether it is there at all
        call = 2 if is_noticed and system.name == "htcondor" else 1
        side.stand_in(QUERY[system.name], FAILS.format(call=call))
        code, said = side.law("--n", "3")
        assert code == 0, said
        assert "try again later" in said
        assert side.outputs().keys() == ({"0.txt", "1.txt", "2.txt"} if is_noticed else {"0.txt", "2.txt"}), said


def test_restart_of_the_accounting(sides: Sides, slurm: System) -> None:
    """What neither the queue nor the history knows at the moment has failed for plain law, and is run again.

    That moment is over as soon as the controller has told the history of it: within seconds, or at once.
    """
    for _ in range(5):
        plain, ours = sides(slurm)
        for side in (plain, ours):
            with slurm.without("slurmdbd"):
                run = side.start("--n", "4", "--seconds", "2")
                run.until(lambda s=side: len(s.outputs()) == 4)  # type: ignore[misc]
                until(lambda s=side: not s.testbed.succeed("squeue", "--noheader", "--me"))  # type: ignore[misc]
            run.end()
        assert ours.jobs() == 4
        if plain.jobs() >= 8:
            break
    assert plain.jobs() >= 8


def test_what_has_failed_for_good(sides: Sides, system: System) -> None:
    """Plain law submits it once more if it tolerates failures, and does not look what becomes of it."""
    plain, ours = sides(system)
    options = ("--n", "2", "--fails", "0", "--slow", "1", "--seconds", "6", "--retries", "0")
    code, said = plain.law(*options, "--tolerance", "0.5", "--acceptance", "0.5")
    assert code == 0, said
    assert plain.jobs() == 3

    code, said = ours.law(*options)
    assert code == 30, said
    assert ours.jobs() == 2
    assert ours.outputs() == {"1.txt": "1"}
    assert "ValueError: branch 0 fails" in said


def test_killed_while_it_submits(sides: Sides, system: System) -> None:
    """Plain law does not know what it has submitted already: ten or more of twelve jobs to Slurm, or a cluster."""
    plain, ours = sides(system)
    calls = 10 if system.name == "slurm" else 1
    for side, call in ((plain, calls), (ours, 1)):
        side.stand_in(SUBMIT[system.name], KILLS_CALLER.format(call=call))
        run = side.start("--n", "12")
        run.end(-signal.SIGKILL)
        run.signal(signal.SIGKILL)  # a helper of law outlives it
        (side.folder / "bin" / SUBMIT[system.name]).unlink()
        code, said = side.law("--n", "12")
        assert code == 0, said
        assert len(side.outputs()) == 12
    assert 22 <= plain.jobs() <= 24
    assert ours.jobs() == 12


def test_put_on_hold(sides: Sides, htcondor: System) -> None:
    """Plain law submits another job; the old one stays, and runs as well as soon as it is released."""
    for side in sides(htcondor):
        is_plain = "--no-canary" not in side.usual
        run = side.start("--n", "1", "--seconds", "5")
        run.until(side.queue.waiting)
        first = next(iter(side.queue.waiting()))
        side.queue.hold(first)
        if is_plain:
            run.until(lambda s=side: len(s.queue.jobs()) == 2)  # type: ignore[misc]
        else:
            run.until_said("held: 1 (+1)")
        side.queue.release(first)
        run.end()
        until(lambda s=side: not s.queue.waiting())  # type: ignore[misc]
        assert side.jobs() == (2 if is_plain else 1)


def test_suspended(sides: Sides, slurm: System) -> None:
    """The same on Slurm."""
    for side in sides(slurm):
        is_plain = "--no-canary" not in side.usual
        run = side.start("--n", "1", "--seconds", "5")
        run.until(lambda s=side: "RUNNING" in s.queue.waiting().values())  # type: ignore[misc]
        first = next(iter(side.queue.waiting()))
        side.queue.suspend(first)
        if is_plain:
            run.until(lambda s=side: len(s.queue.jobs()) == 2)  # type: ignore[misc]
        else:
            run.until_said("held: 1 (+1)")
        side.queue.resume(first)
        run.end()
        until(lambda s=side: not s.queue.waiting())  # type: ignore[misc]
        assert side.jobs() == (2 if is_plain else 1)
