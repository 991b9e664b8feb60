"""Logs and failure reports of batch jobs, beside the outputs of their branches in the store.

The names tell all that has to be known of a thousand attempts: one listing is enough. A name is
``BRANCH.WHEN.TOKEN.RESULT`` with the ending ``.log.gz``, and ``.json`` for the report of a failure.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Iterable
from itertools import groupby
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.backends.base import BackendError, FailureClass
from analysis.engine.backends.failures import Failure
from analysis.engine.concurrent import concurrently
from analysis.engine.shards import is_shard, shard_of
from analysis.engine.storage.base import OutageError
from analysis.engine.storage.masking import masked_bytes

if TYPE_CHECKING:
    from analysis.engine.storage.base import Store

FOLDER = "logs"
"""Folder of logs and reports, beside the outputs."""
OK = "ok"
"""Result of an attempt that ended well; for others it is the value of a :class:`FailureClass`."""
KEPT = 5
"""Attempts per branch that are kept by default."""

_LOG, _REPORT = ".log.gz", ".json"
_NAME = re.compile(
    r"(?P<branch>\d+)\.(?P<when>\d{8}T\d{9})\.(?P<token>[A-Za-z0-9]+-\d+)\.(?P<result>[a-z]+)(\.log\.gz|\.json)"
)


class LogError(BackendError):
    """A log or a report of a job cannot be read."""


class Attempt(NamedTuple):
    """One run of a branch in a job; they sort by branch and time.

    Args:
        branch: branch number.
        when: end of the run in UTC, as :func:`timestamp` has it.
        token: of the submission, and number of the job in it, see :func:`job_token`.
        result: :data:`OK`, or value of a :class:`FailureClass`.
    """

    branch: int
    when: str
    token: str
    result: str

    @classmethod
    def parse(cls, name: str) -> Attempt | None:
        """From the name of a log or of a report; ``None`` if it is neither."""
        found = _NAME.fullmatch(name)
        if found is None or found["result"] not in _RESULTS:
            return None
        return cls(int(found["branch"]), found["when"], found["token"], found["result"])

    def __str__(self) -> str:
        return ".".join(map(str, self))

    @property
    def log(self) -> str:
        """Name of the log."""
        return f"{self}{_LOG}"

    @property
    def report(self) -> str:
        """Name of the report, which only a failure has."""
        return f"{self}{_REPORT}"

    @property
    def failure(self) -> FailureClass | None:
        """Class of the failure; ``None`` if it ended well."""
        return None if self.result == OK else FailureClass(self.result)


_RESULTS = frozenset({OK, *FailureClass})


def timestamp(seconds: float) -> str:
    """A time in UTC with milliseconds, as names have it.

    Args:
        seconds: Unix time.

    Examples:
        >>> timestamp(1e9 + 0.25)
        '20010909T014640250'
    """
    whole, milliseconds = divmod(round(1000 * seconds), 1000)
    return f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(whole))}{milliseconds:03d}"


def job_token(token: str, number: int) -> str:
    """What tells a job from all others in names.

    Args:
        token: of the submission.
        number: of the job in it.
    """
    return f"{token}-{number}"


def write(store: Store, folder: PurePath, attempt: Attempt, log: bytes, failure: Failure | None) -> None:
    """Write log and report; the report last, as it points to the log.

    Args:
        store: where the workflow's outputs are.
        folder: folder of the workflow.
        attempt: which.
        log: text.
        failure: why it failed, if it did.

    Raises:
        OSError: if the store cannot be written.
    """
    place = _place(folder, attempt)
    store.write(place / attempt.log, gzip.compress(masked_bytes(log), 6, mtime=0))
    if failure is not None:
        content = json.dumps(failure.to_json(), indent=1, ensure_ascii=False).encode()
        store.write(place / attempt.report, content)


def log_files(store: Store, folder: PurePath) -> list[PurePath]:
    """Everything in the folder of logs, and in those of high branch numbers; each is listed once.

    Args:
        store: where the workflow's outputs are.
        folder: folder of the workflow.
    """
    top = folder / FOLDER
    names = store.names(top)
    shards = [top / name for name in names if is_shard(name)]
    deeper = concurrently(store.names, shards)
    within = [shard / name for shard, found in zip(shards, deeper, strict=True) for name in found]
    return [top / name for name in names if not is_shard(name)] + within


def _place(folder: PurePath, attempt: Attempt) -> PurePath:
    return folder / FOLDER / shard_of(attempt.branch)


def attempts(store: Store, folder: PurePath) -> dict[int, list[Attempt]]:
    """All attempts by branch, the newest last; from one listing.

    Args:
        store: where the workflow's outputs are.
        folder: folder of the workflow.
    """
    found = sorted({attempt for path in log_files(store, folder) if (attempt := Attempt.parse(path.name))})
    return {branch: list(group) for branch, group in groupby(found, key=lambda attempt: attempt.branch)}


def read_log(store: Store, folder: PurePath, attempt: Attempt) -> str:
    """Text of a log.

    Raises:
        LogError: if it cannot be read.
    """
    path = _place(folder, attempt) / attempt.log
    try:
        return gzip.decompress(store.read(path)).decode(errors="replace")
    except (OSError, EOFError) as error:
        msg = f"the log {path} cannot be read: {error}"
        raise LogError(msg) from error


def read_report(store: Store, folder: PurePath, attempt: Attempt) -> Failure:
    """Report of a failure.

    Raises:
        LogError: if there is none, or it cannot be read.
        OutageError: if the store does not answer.
    """
    path = _place(folder, attempt) / attempt.report
    try:
        return Failure.from_json(json.loads(store.read(path)))
    except OutageError:
        raise
    except (OSError, ValueError) as error:
        msg = f"the report {path} cannot be read: {error}"
        raise LogError(msg) from error


def surplus(names: Iterable[str], keep: int = KEPT) -> list[str]:
    """Names of logs and reports of all but the newest attempts of each branch.

    Args:
        names: what is in the folder.
        keep: attempts per branch that are kept, at least one.
    """
    known = [(attempt, name) for name in names if (attempt := Attempt.parse(name))]
    by_branch = groupby(sorted({attempt for attempt, _ in known}), key=lambda attempt: attempt.branch)
    old = {attempt for _, group in by_branch for attempt in list(group)[:-keep]}
    return sorted(name for attempt, name in known if attempt in old)


def rotate(store: Store, folder: PurePath, keep: int = KEPT) -> None:
    """Remove what is :func:`surplus`; called by whoever watches the jobs, once.

    Args:
        store: where the workflow's outputs are.
        folder: folder of the workflow.
        keep: attempts per branch that are kept, at least one.
    """
    found = {path.name: path for path in log_files(store, folder)}
    concurrently(store.remove, [found[name] for name in surplus(found, keep)])
