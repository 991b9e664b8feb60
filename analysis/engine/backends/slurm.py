"""Slurm: job arrays, by its command line programs."""

from __future__ import annotations

import contextlib
import difflib
import functools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from analysis.engine.backends.base import (
    TIMEOUT,
    BackendError,
    JobStatus,
    QueueFullError,
    SchedulerDownError,
    Submission,
    SubmissionError,
)
from analysis.engine.backends.inflight import in_flight
from analysis.engine.backends.slurm_script import SlurmSettings, jobs_of, options, script
from analysis.engine.backends.slurm_status import (
    HISTORY_FORMAT,
    QUEUE_FORMAT,
    Row,
    compact,
    master,
    merge,
    parse_history,
    parse_queue,
)

__all__ = ["Slurm", "SlurmSettings"]

PROGRAMS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")

_KEPT = ("HOME", "KRB5CCNAME", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SLURM_CONF", "SLURM_JWT", "TZ", "USER")
_DEFAULTS = ("account", "constraint", "partition", "qos", "reservation")
"""Options for which a user's ``SBATCH_...`` variable counts, where nothing else is said."""
_CHUNK = 500
_MARGIN = 600
_GRACE = 0.2
_DOWN = re.compile(
    r"unable to (contact|connect)|connection (refused|reset|failure|timed out)|timed out|zero bytes were transmitted"
    r"|communications? (connection|shutdown|send|receive)|no route to host|(can not|cannot|can't) resolve"
    r"|backup controller in standby|authentication|munge|plugin initialization|controller.*(busy|not responding)",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"(QOS|Assoc)(Max|Grp)Sub(mit)?Jobs?|MaxSubmitJobs?|job queue full|temporarily unable to accept", re.IGNORECASE
)
_RETRYING = b"sleeping and retrying"
_GONE = re.compile(r"invalid job id|already complet", re.IGNORECASE)
_DISABLED = "accounting storage is disabled"


class Slurm:
    """Slurm, as the class ``Backend`` has it.

    Jobs of a submission are the tasks of one array; their ids are ``ARRAY_NUMBER``. A job that Slurm starts again after
    a node failed keeps its id. What ended is told by accounting (``sacct``) and, where there is none, or while it does
    not answer, by what the controller still remembers (``MinJobAge``).

    Args:
        settings: of the site.
    """

    name = "slurm"

    def __init__(self, settings: SlurmSettings) -> None:
        self.settings = settings
        self._user = os.getuid()
        self._has_history = settings.accounting != "off"

    @functools.cached_property
    def max_jobs(self) -> int:
        """Jobs that one submission can have.

        Raises:
            SchedulerDownError: if Slurm does not answer; it is asked once.
        """
        if self.settings.max_array:
            return self.settings.max_array
        text = self._ask("scontrol", "show", "config")
        limits = re.findall(r"(?im)^MaxArraySize\s*=\s*(\d+)|^MaxJobCount\s*=\s*(\d+)|max_array_tasks=(\d+)", text)
        found = [int(number) for limit in limits for number in limit if number]
        if not found or min(found) < 1:
            msg = "Slurm does not say how many jobs an array can have: set max_array in section slurm of the profile."
            raise BackendError(msg)
        return min(found)

    def check(self) -> None:
        """Look whether jobs could be submitted.

        Raises:
            BackendError: naming what is missing: a program, an answer, a partition.
        """
        programs = (*PROGRAMS, "sacct") if self.settings.accounting == "on" else PROGRAMS
        if missing := [program for program in programs if shutil.which(program) is None]:
            msg = f"Slurm's {' and '.join(missing)} cannot be found in PATH: is this a machine that submits to Slurm?"
            raise BackendError(msg)
        partitions = self._partitions()
        for wanted in filter(None, self.settings.partition.split(",")):
            if wanted not in partitions:
                msg = f"Slurm has no partition {wanted}{_closest(wanted, partitions)}."
                raise BackendError(msg)
        if self.settings.accounting == "on" and self._history("--user", str(self._user), since=time.time()) is None:
            msg = "Slurm's accounting (sacct) does not answer, while section slurm of the profile says accounting = on."
            raise BackendError(msg)

    def submit(self, submission: Submission) -> list[str]:
        """Submit jobs, all or none, as one array.

        Returns:
            Their ids in the order of the arguments.

        Raises:
            SubmissionError: if Slurm refuses, with its own words.
            QueueFullError: if it refuses for now.
            SchedulerDownError: if it does not answer, or it is not known whether it took the jobs.
        """
        count = len(submission.arguments)
        if not 0 < count <= self.max_jobs:
            msg = f"A Slurm array has between 1 and {self.max_jobs} jobs, not {count}."
            raise SubmissionError(msg)
        given = options(submission, self.settings)
        environment = self._environment(given)
        path = submission.folder / "job.sbatch"
        path.write_text(script(submission, self.settings, environment))
        with in_flight(submission.folder) as descriptor:
            code, output, errors = _sbatch(path, {**environment, **submission.secrets}, descriptor)
        if _RETRYING.decode() in errors and code != 0:
            return self._after_full(submission, errors)
        if code != 0:
            raise self._refusal(errors, given.get("partition", ""), path.stat().st_size)
        match = re.search(r"(?m)^(\d+)(;.*)?$", output)
        if match is None:
            msg = f"sbatch gave no job id but {_line(output) or 'nothing'}: it is not known whether there are jobs."
            raise SchedulerDownError(msg)
        return [f"{match[1]}_{number}" for number in range(count)]

    def find(self, token: str, since: float) -> dict[int, str]:
        """Jobs of a submission whose answer was lost: in the queue, or ended already.

        Args:
            token: the submission's.
            since: Unix time before which it was not submitted.

        Returns:
            Ids by job number; empty if Slurm never took the submission.

        Raises:
            SchedulerDownError: if the controller or, where there is one, accounting does not answer.
        """
        queue = self._queue()
        history = self._history("--user", str(self._user), since=since)
        if history is None and self._has_history:
            msg = (
                "Slurm's accounting (sacct) does not answer: jobs whose submission was interrupted cannot be looked up."
            )
            raise SchedulerDownError(msg)
        for row in (*queue.values(), *(history or {}).values()):
            if count := jobs_of(row.name, token):
                return {number: f"{master(row.id)}_{number}" for number in range(count)}
        return {}

    def query(self, ids: Collection[str], since: float) -> dict[str, JobStatus]:
        """States of jobs, from the queue and, for those that left it, from accounting.

        Jobs that wait for ever, since the site does not give what they ask for, are failures of class ``ENVIRONMENT``.

        Args:
            ids: of any submissions.
            since: Unix time before which none of them was submitted.

        Returns:
            Status by id, without the jobs of which nothing is known (now).

        Raises:
            SchedulerDownError: if the controller does not answer. Accounting alone may be silent.
        """
        if not ids:
            return {}
        queue = self._queue()
        ended = [identity for identity in ids if identity not in queue or queue[identity].ended]
        history: dict[str, Row] | None = {}
        if ended:
            arrays = sorted({master(identity) for identity in ended})
            history = self._history("--jobs", ",".join(arrays), since=since)
        return merge(ids, queue, history, self._user)

    def cancel(self, ids: Collection[str]) -> None:
        """Remove jobs from the queue, held ones too; those that are not there are none of its business.

        Raises:
            SchedulerDownError: if Slurm does not answer.
            BackendError: if it refuses.
        """
        ordered = sorted(ids)
        for start in range(0, len(ordered), _CHUNK):
            result = self._run("scancel", *compact(ordered[start : start + _CHUNK]))
            refused = [line for line in result.stderr.splitlines() if line.strip() and not _GONE.search(line)]
            if result.returncode != 0 and refused:
                kind = SchedulerDownError if _DOWN.search(result.stderr) else BackendError
                msg = f"scancel failed: {_line(refused[0])}"
                raise kind(msg)

    def _queue(self) -> dict[str, Row]:
        columns = ",".join(f"{column}:0|" for column in QUEUE_FORMAT[:-1]) + f",{QUEUE_FORMAT[-1]}:0"
        user = f"--user={self._user}"
        return parse_queue(self._ask("squeue", "--array", "--noheader", "--all", "--states=all", user, "-O", columns))

    def _history(self, *which: str, since: float) -> dict[str, Row] | None:
        """What accounting says; ``None`` if it does not answer, or there is none."""
        if not self._has_history:
            return None
        start = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(since - _MARGIN))
        columns = ",".join(HISTORY_FORMAT)
        try:
            result = self._run("sacct", *which, "--parsable2", "--noheader", "--starttime", start, "--format", columns)
        except BackendError:
            return None
        if result.returncode != 0:
            if _DISABLED in result.stderr.lower() + result.stdout.lower():
                self._has_history = False
            return None
        return parse_history(result.stdout)

    def _partitions(self) -> list[str]:
        return sorted(set(self._ask("sinfo", "--all", "--noheader", "--format=%R").split()))

    def _ask(self, program: str, *arguments: str) -> str:
        result = self._run(program, *arguments)
        if result.returncode != 0:
            msg = f"Slurm does not answer: {_line(result.stderr) or f'{program} ended with {result.returncode}'}"
            raise SchedulerDownError(msg)
        return result.stdout

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**self._environment(_DEFAULTS), "SLURM_TIME_FORMAT": "%s"}
        try:
            return subprocess.run(
                [program, *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT / 2,  # a query is two calls
                check=False,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise _no_program(error) from error
        except subprocess.TimeoutExpired as error:
            msg = f"Slurm does not answer: {program} took more than {TIMEOUT / 2:.0f} s."
            raise SchedulerDownError(msg) from error

    def _environment(self, given: Collection[str]) -> dict[str, str]:
        """Environment of Slurm's programs: variables such as ``SQUEUE_PARTITION`` would make them hide jobs."""
        defaults = {f"SBATCH_{name.upper()}" for name in _DEFAULTS if name not in given}
        kept = {name: os.environ[name] for name in (*_KEPT, *sorted(defaults)) if name in os.environ}
        if self.settings.cluster:
            kept["SLURM_CLUSTERS"] = self.settings.cluster
        return {**kept, "LC_ALL": "C"}

    def _after_full(self, submission: Submission, errors: str) -> list[str]:
        """Sbatch was stopped while it waited for room: if it was too late for that, there are jobs."""
        found = self.find(submission.token, time.time() - TIMEOUT)
        if found:
            return list(found.values())
        msg = f"Slurm takes no more jobs for now: {_line(errors)}"
        raise QueueFullError(msg)

    def _refusal(self, errors: str, partition: str, size: int) -> BackendError:
        if _FULL.search(errors):
            return QueueFullError(f"Slurm takes no more jobs for now: {_line(errors)}")
        if _DOWN.search(errors):
            return SchedulerDownError(f"Slurm does not answer: {_line(errors)}")
        hint = ""
        if "invalid partition" in errors.lower():
            with contextlib.suppress(SchedulerDownError):
                hint = _closest(partition, self._partitions())
        if "parameter too long" in errors:
            hint = f"; the batch script, with what it brings along, has {size / 1e6:.1f} MB (max_script_size of Slurm)"
        return SubmissionError(f"Slurm refuses the jobs: {_line(errors)}{hint}")


def _sbatch(path: Path, environment: Mapping[str, str], descriptor: int) -> tuple[int, str, str]:
    """Exit code, output and errors of sbatch; a message that it waits for room ends it at once."""
    try:
        process = subprocess.Popen(
            ["sbatch", "--parsable", str(path)],
            env=environment,
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl-C is for us: the call of sbatch goes on to its end
        )
    except FileNotFoundError as error:
        raise _no_program(error) from error
    end = time.monotonic() + TIMEOUT
    while True:
        try:
            output, errors = process.communicate(timeout=_GRACE)
        except subprocess.TimeoutExpired as waiting:
            full = _RETRYING in (waiting.stderr or b"")
            if not full and time.monotonic() < end:
                continue
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            if not full:
                msg = f"sbatch took more than {TIMEOUT:.0f} s: it is not known whether there are jobs."
                raise SchedulerDownError(msg) from waiting
        return process.returncode, output.decode(errors="replace"), errors.decode(errors="replace")


def _no_program(error: FileNotFoundError) -> BackendError:
    msg = f"Slurm's {error.filename} cannot be found in PATH: is this a machine that submits to Slurm?"
    return BackendError(msg)


def _closest(name: str, names: Collection[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return "".join(f"; did you mean {found}?" for found in close) + f" (there are {', '.join(names)})"


def _line(text: str) -> str:
    """One line of several, without the names of programs."""
    lines = (re.sub(r"^\w+( error)?: (error: )?", "", line.strip()) for line in text.splitlines())
    return "; ".join(dict.fromkeys(line for line in lines if line))
