"""Two ways to talk to HTCondor that do the same: its command line tools, and its Python bindings.

Whether a refusal is final is told by its words, since HTCondor's exit codes do not: a limit on the number of jobs is
:class:`QueueFullError`; what speaks of connections and time is :class:`SchedulerDownError`, unless authentication
failed; all else that is said to a submission is :class:`SubmissionError`. A query that fails is always
:class:`SchedulerDownError`: nothing is known then, whatever the reason.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from analysis.engine.backends import htcondor_bindings
from analysis.engine.backends.base import (
    TIMEOUT,
    BackendError,
    QueueFullError,
    SchedulerDownError,
    SubmissionError,
)
from analysis.engine.backends.htcondor_status import ATTRIBUTES, Ad
from analysis.engine.backends.inflight import in_flight

SUBMIT_FILE = "job.sub"
"""Name of the submit description in the folder of a submission."""

# the bindings do not say which limit refuses a job
_FULL = re.compile(
    r"MAX_JOBS_(PER_OWNER|PER_SUBMISSION|SUBMITTED)|too many jobs|create new (proc|cluster)", re.IGNORECASE
)
_DENIED = re.compile(r"AUTHENTICATE:|authenticat|authoriz|denied", re.IGNORECASE)
# a transaction that fails without any reason may have been lost on the way back
_DOWN = re.compile(
    r"connect|contact|communicat|timed? ?out|(can't find|cannot get) address|no record of|unable to locate"
    r"|CEDAR:|SECMAN:|failed to (fetch|send)|performing action|not responding|broken pipe"
    r"|(failed|unable) to commit (job submission into the queue|transaction)\W*\Z",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"Couldn't find|no jobs in the queue|not found", re.IGNORECASE)
_SUBMITTED = re.compile(r"^(\d+)\.\d+ - \d+\.(\d+)\s*$", re.MULTILINE)
_LONGEST = 500
_logger = logging.getLogger("analysis.engine")


class Client(Protocol):
    """A way to talk to one scheduler."""

    def submit(self, folder: Path) -> tuple[int, int]:
        """Submit the jobs of :data:`SUBMIT_FILE`.

        Args:
            folder: the submission's.

        Returns:
            Number of their cluster, and how many they are.
        """

    def queue(self, constraint: str) -> list[Ad]:
        """Jobs in the queue.

        Args:
            constraint: a ClassAd expression that they fulfil.
        """

    def history(self, constraint: str, stop: str, limit: int) -> list[Ad]:
        """Jobs that left the queue.

        Args:
            constraint: a ClassAd expression that they fulfil.
            stop: one that the last job fulfils that is looked at, backwards in time.
            limit: number of jobs after which the search stops; -1 for none.
        """

    def remove(self, ids: Sequence[str]) -> None:
        """Remove jobs from the queue, as far as they are there.

        Args:
            ids: of jobs, which a scheduler looks up; for a constraint it would look at all its jobs.
        """


class Tools:
    """The command line tools: they always fit the pool, since they come with it.

    Args:
        pool: central manager; empty for the configured one.
        schedd: name of the scheduler; empty for the one of this machine, or the configured one.
    """

    def __init__(self, pool: str = "", schedd: str = "") -> None:
        self._place = [*(["-pool", pool] if pool else []), *(["-name", schedd] if schedd else [])]

    def submit(self, folder: Path) -> tuple[int, int]:
        """See :meth:`Client.submit`."""
        with in_flight(folder) as descriptor:
            done = _run(["condor_submit", *self._place, "-terse", SUBMIT_FILE], folder, descriptor)
        if done.returncode:
            raise submission_error(done.stderr)
        if not (jobs := _SUBMITTED.search(done.stdout)):
            msg = f"condor_submit does not say which jobs it submitted: {_short(done.stdout + done.stderr)}"
            raise SchedulerDownError(msg)
        return int(jobs[1]), int(jobs[2]) + 1

    def queue(self, constraint: str) -> list[Ad]:
        """See :meth:`Client.queue`."""
        return self._ask("condor_q", "-constraint", constraint)

    def history(self, constraint: str, stop: str, limit: int) -> list[Ad]:
        """See :meth:`Client.history`."""
        bound = ["-limit", str(limit)] if limit >= 0 else []
        return self._ask("condor_history", "-constraint", constraint, "-since", stop, *bound)

    def remove(self, ids: Sequence[str]) -> None:
        """See :meth:`Client.remove`."""
        done = _run(["condor_rm", *self._place, *ids])
        if done.returncode and not (_ABSENT.search(done.stderr) and not _DOWN.search(done.stderr)):
            raise _removal_error(done.stderr)

    def _ask(self, program: str, *arguments: str) -> list[Ad]:
        done = _run([program, *self._place, "-json", "-attributes", ",".join(ATTRIBUTES), *arguments])
        if done.returncode:
            msg = f"HTCondor does not answer {program}: {_short(done.stderr)}"
            raise SchedulerDownError(msg)
        return _ads(_json(done.stdout or "[]", program))


class Bindings:
    """The Python bindings; their version has to fit the pool's.

    Args:
        pool: central manager; empty for the configured one.
        schedd: name of the scheduler; empty for the one of this machine.
    """

    def __init__(self, pool: str = "", schedd: str = "") -> None:
        self._place = {"pool": pool, "schedd": schedd}

    def submit(self, folder: Path) -> tuple[int, int]:
        """See :meth:`Client.submit`."""
        text = (folder / SUBMIT_FILE).read_text(encoding="utf-8", errors="surrogateescape")
        with in_flight(folder) as descriptor:
            done = self._call({"verb": "submit", "description": text}, folder, descriptor)
        if done.returncode:
            raise submission_error(done.stderr)
        cluster, count = _json(done.stdout, "htcondor2")
        return cluster, count

    def queue(self, constraint: str) -> list[Ad]:
        """See :meth:`Client.queue`."""
        return self._ask({"verb": "queue", "constraint": constraint})

    def history(self, constraint: str, stop: str, limit: int) -> list[Ad]:
        """See :meth:`Client.history`."""
        return self._ask({"verb": "history", "constraint": constraint, "stop": stop, "limit": limit})

    def remove(self, ids: Sequence[str]) -> None:
        """See :meth:`Client.remove`."""
        done = self._call({"verb": "remove", "ids": list(ids)})
        if done.returncode:
            raise _removal_error(done.stderr)

    def _ask(self, request: dict[str, Any]) -> list[Ad]:
        done = self._call(request | {"attributes": list(ATTRIBUTES)})
        if done.returncode:
            msg = f"HTCondor does not answer its Python bindings: {_short(done.stderr)}"
            raise SchedulerDownError(msg)
        return _ads(_json(done.stdout, "htcondor2"))

    def _call(
        self, request: dict[str, Any], folder: Path | None = None, descriptor: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-P", htcondor_bindings.__file__]
        return _run(program, folder, descriptor, json.dumps(request | self._place))


def choose(client: str, pool: str = "", schedd: str = "") -> Client:
    """The client that a profile asks for.

    Args:
        client: ``tools``, ``bindings``, or ``auto`` for the bindings if they are there and this pool accepts them.
        pool: see :class:`Tools`.
        schedd: see :class:`Tools`.

    Raises:
        BackendError: if there is no such client.
    """
    if client == "tools":
        return Tools(pool, schedd)
    bindings = Bindings(pool, schedd)
    if client == "bindings":
        return bindings
    if client != "auto":
        msg = f"[htcondor] client is {client!r}: it is one of auto, bindings, tools."
        raise BackendError(msg)
    try:
        bindings.remove(["0.0"])  # there is none, but this is authenticated as a submission is, which a query is not
    except BackendError as error:
        _logger.debug("HTCondor is talked to by its command line tools, since the Python bindings fail: %s", error)
        return Tools(pool, schedd)
    _logger.debug("HTCondor is talked to by its Python bindings")
    return bindings


def submission_error(text: str) -> BackendError:
    """What the words mean by which a submission was refused, or failed.

    Args:
        text: standard error of the client.
    """
    words = f"HTCondor did not take the jobs: {_short(text)}"
    if _FULL.search(text):
        return QueueFullError(words)
    if _DOWN.search(text) and not _DENIED.search(text):
        return SchedulerDownError(words)
    return SubmissionError(words)


def _removal_error(text: str) -> BackendError:
    words = f"HTCondor did not remove the jobs: {_short(text)}"
    return SchedulerDownError(words) if _DOWN.search(text) and not _DENIED.search(text) else BackendError(words)


def _run(
    command: Sequence[str], folder: Path | None = None, descriptor: int | None = None, text: str = ""
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            input=text,
            capture_output=True,
            check=False,
            cwd=folder,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            pass_fds=() if descriptor is None else (descriptor,),
            timeout=TIMEOUT,
        )
    except FileNotFoundError as error:
        msg = f"{command[0]} is not to be found: load HTCondor's client, or correct PATH."
        raise BackendError(msg) from error
    except subprocess.TimeoutExpired as error:
        msg = f"HTCondor did not answer {command[0]} within {TIMEOUT:g} s."
        raise SchedulerDownError(msg) from error


def _json(text: str, source: str) -> Any:
    try:
        return json.loads(text, strict=False)
    except ValueError as error:
        msg = f"The answer of {source} is cut off, or is not JSON: {_short(text[-_LONGEST:])}"
        raise SchedulerDownError(msg) from error


def _ads(raw: list[dict[str, Any]]) -> list[Ad]:
    """Descriptions of jobs without the attributes that are expressions, which JSON has as texts of this kind."""
    return [{k: v for k, v in ad.items() if not (isinstance(v, str) and v.startswith("/Expr("))} for ad in raw]


def _short(text: str) -> str:
    words = " ".join(text.partition("Extra Info:")[0].split()) or "no message"
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."
