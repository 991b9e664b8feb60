"""What a job runs: ``python -m analysis.engine.backends.worker BRANCH:DIGEST,BRANCH:DIGEST,...``.

This process imports next to nothing. It forks one that runs the branches (:mod:`~analysis.engine.backends.runner`),
watches the memory of all processes below it and the time, and takes note of what became of each branch: log and report
go to the store (:mod:`~analysis.engine.backends.scribe`). If the process of the branches dies, it is known of which
branch, and the next ones get a new one.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from analysis.engine.backends import joblogs, tree
from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.failures import Failure, ended_by_batch_system, failure_of_death
from analysis.engine.backends.joblogs import Attempt
from analysis.engine.backends.runner import DUMP, Message, Runner
from analysis.engine.backends.scribe import Death, Note, Scribe, read_log, size_of
from analysis.engine.backends.spec import Branch, JobSpec, SpecError, parse_branches
from analysis.engine.process import is_running
from analysis.engine.storage import masking
from analysis.engine.terminal import say

NO_SPEC = 83
"""Exit code if the job cannot find out what to do, see :data:`~analysis.engine.backends.failures.EXIT_CODES`."""

_INTERVAL = 0.5
_PATIENCE = 2.0
_NEARLY = 0.9
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGXCPU)


class Job(NamedTuple):
    """Which job this is.

    Args:
        id: as the scheduler has it.
        token: of the submission, and number of the job in it, as logs have it.
        scratch: directory for temporary files.
        started: Unix time.
    """

    id: str
    token: str
    scratch: Path
    started: float


def job_from(environment: Mapping[str, str]) -> Job:
    """The job that an environment belongs to."""
    job, number = identify(environment)
    return Job(
        job,
        joblogs.job_token(environment.get("ANALYSIS_JOB_TOKEN") or "unknown", number),
        Path(environment.get("TMPDIR") or "/tmp"),
        float(environment.get("ANALYSIS_JOB_STARTED") or time.time()),
    )


def identify(environment: Mapping[str, str]) -> tuple[str, int]:
    """Id of the job as the scheduler has it, and number of the job in its submission; nothing and 0 without one."""
    if job := environment.get("SLURM_JOB_ID"):
        array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
        return (f"{array}_{task}", int(task)) if array and task else (job, 0)
    with suppress(KeyError, OSError):
        text = Path(environment["_CONDOR_JOB_AD"]).read_text()
        found = dict(re.findall(r"^(ClusterId|ProcId) = (\d+)$", text, re.MULTILINE))
        return f"{found['ClusterId']}.{found['ProcId']}", int(found["ProcId"])
    return "", 0


@dataclass(frozen=True)
class Limits:
    """What a job may use, a little less than it asked for: if the scheduler ends it, it leaves no report.

    Args:
        memory: that it asked for [bytes], 0 for any.
        runtime: that it asked for [s], 0 for any.
        started: Unix time.
    """

    memory: int
    runtime: int
    started: float

    def exceeded(self, memory: int, now: float) -> Failure | None:
        """What is exceeded, or almost, if anything.

        Args:
            memory: that the job uses [bytes].
            now: Unix time.
        """
        if self.memory and memory >= self.memory - min(64_000_000, 0.05 * self.memory):
            sentence = f"the job used {memory / 1e6:.0f} MB, and had asked for {self.memory / 1e6:.0f} MB"
            return Failure(FailureClass.MEMORY, "", sentence)
        seconds = now - self.started
        if self.runtime and seconds >= self.runtime - min(60.0, 0.05 * self.runtime):
            sentence = f"the job had run for {seconds:.0f} s, and had asked for {self.runtime} s"
            return Failure(FailureClass.WALLTIME, "", sentence)
        return None

    def is_nearly_full(self, memory: int) -> bool:
        """Whether it is likely that the kernel had no more memory for the job.

        Args:
            memory: that the job used at most [bytes].
        """
        return bool(self.memory) and memory >= _NEARLY * self.memory


class _Ended(NamedTuple):
    """A process that ended: its wait status, and the peak of its memory [bytes]."""

    pid: int
    status: int
    memory: int


class Supervisor:
    """Has the branches of a job run, and takes note of what becomes of them.

    Args:
        spec: description of the job.
        job: which job this is.
        todo: the branches.
    """

    def __init__(self, spec: JobSpec, job: Job, todo: Sequence[Branch]) -> None:
        self._spec, self._job, self._todo = spec, job, list(todo)
        self._scribe = Scribe(spec)
        self._limits = Limits(spec.memory, spec.runtime, job.started)
        self._oom_kills = tree.oom_kills()
        self._killed: set[int] = set()  # with the process of the branches
        self._signal = 0
        self._current: int | None = None
        self._begun, self._peak = time.monotonic(), 0
        self._failed, self._stopped = False, False
        self._pid = os.getpid()
        self._wake, self._waker = os.pipe()

    def run(self) -> bool:
        """Run all branches.

        Returns:
            Whether all of them are done.
        """
        tree.adopt_orphans()
        for end in (self._wake, self._waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in _ENDING:
            signal.signal(number, self._remember)
        while self._todo and not self._stopped:
            self._watch(*self._fork())
            tree.kill_descendants()
            self._scribe.write()
            self._stopped = self._stopped or self._verdict() is not None
        return not self._todo and not self._failed

    def _remember(self, number: int, _frame: object) -> None:
        self._signal = number

    # the process of the branches

    def _fork(self) -> tuple[int, int]:
        """Process that runs what is left to do, and the pipe through which it tells."""
        for name in _THREADS:
            os.environ[name] = str(self._spec.cores)
        receiver, sender = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                for number in (signal.SIGCHLD, *_ENDING):
                    signal.signal(number, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                tree.die_with_parent()
                Runner(self._spec, self._job.id, self._todo, sender, self._log).run()
                code = 0
            except BaseException:  # the runner tells of all errors but its own
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(code)
        os.close(sender)
        os.set_blocking(receiver, False)
        return pid, receiver

    def _watch(self, pid: int, receiver: int) -> None:
        """Wait for the end of the process, and take note of all it tells; end it if it exceeds a limit."""
        before, verdict, pending, sources = len(self._todo), None, b"", {receiver, self._wake}
        while True:
            ready = select.select(sources, (), (), _INTERVAL)[0]
            if self._wake in ready:
                _drain(self._wake)
            if verdict is None and (verdict := self._verdict()):
                self._end(pid)
            ended = _reap(pid)
            text, is_closed = _drain(receiver)
            if is_closed:
                sources.discard(receiver)
            *lines, pending = (pending + text).split(b"\n")
            for line in lines:
                self._take(Message(*json.loads(line)))
            if ended is not None:
                break
        os.close(receiver)
        is_regular = ended.status == 0 and self._current is None and len(self._todo) < before
        if self._todo and not is_regular:
            self._bury(ended, verdict)

    def _verdict(self) -> Failure | None:
        """Why the process has to be ended now, if it has to."""
        if self._signal:
            return ended_by_batch_system(signal.Signals(self._signal).name)
        used = tree.memory_of([os.getpid(), *self._below(os.getpid())])
        self._peak = max(self._peak, used)
        return self._limits.exceeded(used, time.time())

    def _end(self, pid: int) -> None:
        """Let the process write where it is, then kill it with all its own."""
        if self._current is not None:
            log = self._log(self._current)
            size, patience = size_of(log), time.monotonic() + _PATIENCE
            with suppress(ProcessLookupError):
                os.kill(pid, DUMP)
            while size_of(log) == size and time.monotonic() < patience and not _has_ended(pid):
                time.sleep(0.01)
        self._killed = self._below(pid)
        for number in [pid, *self._killed]:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        patience = time.monotonic() + _PATIENCE
        while any(map(is_running, self._killed)) and time.monotonic() < patience:  # what they hold is theirs till then
            time.sleep(0.01)

    def _below(self, pid: int) -> set[int]:
        """All processes below one, and those that docker's daemon runs for this job."""
        in_containers = tree.working_for(self._job.scratch) if self._spec.sandbox == "docker" else []
        return {*tree.descendants(pid), *in_containers} - {pid, os.getpid()}

    # what became of branches

    def _take(self, message: Message) -> None:
        if not message.ended:
            self._current, self._begun, self._peak = message.branch, time.monotonic(), 0
            return
        failure = Failure.from_json(message.failure) if message.failure else None
        self._peak = max(self._peak, message.memory)
        # a sandbox that the kernel has killed does not tell why
        if failure is not None and failure.error == "SandboxError" and self._has_filled_memory():
            failure = replace(failure, kind=FailureClass.MEMORY)
        self._record(message.branch, failure, message.seconds)

    def _bury(self, ended: _Ended, verdict: Failure | None) -> None:
        """Take note of the branch at which the process died; of those after it nobody knows anything."""
        status, self._peak = ended.status, max(self._peak, ended.memory)
        branch = self._todo[0].number if self._current is None else self._current
        log = read_log(self._log(branch)).decode(errors="replace")
        failure = failure_of_death(status, log, self._has_filled_memory())
        is_by_signal = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM
        self._stopped = is_by_signal or (verdict is not None and verdict.kind is not FailureClass.MEMORY)
        if verdict is not None:
            failure = replace(verdict, frames=failure.frames)
        self._record(branch, failure, time.monotonic() - self._begun)
        killed, self._killed = self._killed, set()
        with suppress(OSError):
            self._scribe.bury(Death(branch, (ended.pid, *killed)))

    def _has_filled_memory(self) -> bool:
        """Whether the kernel has killed processes of the branch for lack of memory, or it used nearly all of it."""
        before, self._oom_kills = self._oom_kills, tree.oom_kills()
        return self._limits.is_nearly_full(self._peak) or self._oom_kills > before

    def _record(self, branch: int, failure: Failure | None, seconds: float) -> None:
        """Write log and report, and say what became of a branch."""
        now = time.time()
        self._todo = [item for item in self._todo if item.number != branch]
        self._current = None
        attempt = Attempt(branch, joblogs.timestamp(now), self._job.token, failure.kind if failure else joblogs.OK)
        if failure is not None:
            self._failed = True
            failure = replace(
                failure,
                host=socket.gethostname(),
                job=self._job.id,
                when=time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(now)),
                wall_seconds=round(seconds, 3),
                peak_memory=self._peak,
            )
        what = f"{failure.kind}: {failure}" if failure else "done"
        say(f"branch {branch}: {what} [{seconds:.1f} s, {self._peak / 1e6:.0f} MB]", sys.stdout)
        self._scribe.note(Note(attempt, self._log(branch), failure))

    def _log(self, branch: int) -> Path:
        return self._job.scratch / f"branch_{branch}.{self._pid}.log"


def _has_ended(pid: int) -> bool:
    """Whether a child of this process has ended; of which note is taken elsewhere."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _drain(descriptor: int) -> tuple[bytes, bool]:
    """All that is in a pipe by now, and whether its other end is closed."""
    content = b""
    with suppress(BlockingIOError):
        while part := os.read(descriptor, 1 << 16):
            content += part
        return content, True
    return content, False


def _reap(pid: int) -> _Ended | None:
    """A process if it has ended; orphans that were adopted are taken note of by the way."""
    found = None
    with suppress(ChildProcessError):
        while True:
            number, status, usage = os.wait4(-1, os.WNOHANG)
            if not number:
                break
            found = _Ended(pid, status, usage.ru_maxrss * 1024) if number == pid else found
    return found


def main(arguments: Sequence[str]) -> int:
    """Run a job.

    Args:
        arguments: one, see :func:`~analysis.engine.backends.spec.parse_branches`.

    Returns:
        Exit code: 0 if all branches are done, 1 if not, 83 if nothing could be started.
    """
    sys.excepthook = masking.excepthook
    try:
        spec = JobSpec.read(Path(os.environ.get("ANALYSIS_JOB_SPEC", "")))
        supervisor = Supervisor(spec, job_from(os.environ), parse_branches("".join(arguments)))
    except SpecError as error:
        say(f"job on {socket.gethostname()}: {error}")
        return NO_SPEC
    else:
        return 0 if supervisor.run() else 1
    finally:
        if scratch := os.environ.get("ANALYSIS_JOB_SCRATCH"):
            shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
