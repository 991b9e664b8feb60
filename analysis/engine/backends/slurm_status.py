"""What Slurm's programs print about jobs, and what it means."""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf
from typing import NamedTuple

from analysis.engine.backends.base import FailureClass, JobState, JobStatus

QUEUE_FORMAT = ("JobArrayID", "State", "exit_code", "Reason", "NodeList", "StartTime", "EndTime", "Name")
"""Columns of squeue; the name is last since it may have any character."""
HISTORY_FORMAT = ("JobID", "State", "ExitCode", "Reason", "NodeList", "Start", "End", "ReqMem", "MaxRSS", "JobName")
"""Columns of sacct."""


class Row(NamedTuple):
    """What Slurm knows of a job, or of the tasks of an array that never had a record of their own.

    Args:
        id: such as ``12_3``, ``12_[4-9%2]``, ``12``.
        state: such as ``PENDING``, ``CANCELLED by 1000``.
        code: exit code of the script, if it ended by itself.
        signal: what ended it, or a number that Slurm takes for an error of its own.
        reason: as Slurm says it.
        host: where it runs or ran.
        start: Unix time.
        end: Unix time.
        name: of the job.
        memory: peak [bytes].
        limit: what it asked for [bytes].
    """

    id: str
    state: str
    code: int | None = None
    signal: int | None = None
    reason: str = ""
    host: str = ""
    start: float | None = None
    end: float | None = None
    name: str = ""
    memory: int | None = None
    limit: int | None = None

    @property
    def word(self) -> str:
        """The state alone."""
        return self.state.partition(" ")[0]

    @property
    def ended(self) -> bool:
        """Whether the job is over, for good."""
        return self.word in _ENDED

    @property
    def is_vague(self) -> bool:
        """Whether accounting knows more of the end: by whom the job was cancelled, how much memory it had."""
        return self.word == "CANCELLED" or self.signal is not None


_ENDED: Mapping[str, FailureClass | None] = {
    "COMPLETED": None,
    "FAILED": None,
    "CANCELLED": FailureClass.REMOVED,
    "TIMEOUT": FailureClass.WALLTIME,
    "DEADLINE": FailureClass.WALLTIME,
    "OUT_OF_MEMORY": FailureClass.MEMORY,
    "NODE_FAIL": FailureClass.NODE,
    "BOOT_FAIL": FailureClass.NODE,
    "PREEMPTED": FailureClass.NODE,
    "REVOKED": FailureClass.NODE,
}
_PENDING = frozenset(("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "POWER_UP_NODE"))
_RUNNING = frozenset(("RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT", "UPDATE_DB", "EXPEDITING"))
_SUSPENDED = frozenset(("SUSPENDED", "STOPPED"))
_STUCK: Mapping[str, FailureClass] = {
    "REQUEUE_HOLD": FailureClass.NODE,
    "SPECIAL_EXIT": FailureClass.NODE,
    "LAUNCH_FAILED": FailureClass.NODE,
    "RECONFIG_FAIL": FailureClass.NODE,
    "RESV_DEL_HOLD": FailureClass.ENVIRONMENT,
}
"""In the queue until a person does something, and not because a person wanted it."""

_HELD_REASONS = frozenset(("JobHeldUser", "JobHeldAdmin"))
_STUCK_REASONS = re.compile(
    r"\(?(launch.failed.requeued.held|job.requeued.in.held.state|JobHoldMaxRequeue|JobLaunchFailure)", re.IGNORECASE
)
_NEVER_REASONS = re.compile(
    r"DependencyNeverSatisfied|PartitionTimeLimit|PartitionConfig|BadConstraints|MaxMemPerLimit"
    r"|InvalidAccount|InvalidQOS|AccountNotAllowed|QOSNotAllowed|ReservationInvalid|ReservationDeleted"
    r"|(QOS|Assoc)Max\w+Per(Job|Node)(Limit)?|QOSMin\w+"
)
"""A job waits for ever: the site does not give what it asks for. It is taken out as a failure of the environment."""

_NODE_REASONS = frozenset(("NodeDown", "SystemFailure"))
_NO_OUTPUT = 53
"""Slurm's code of a job whose output could not be opened on the node."""
_SIGNALS = 64
_UNFINISHED = "allocation"
"""Name in accounting of a job of which it knows the end, and not yet of which array it was a task."""
_NOTHING = frozenset(("", "None", "N/A", "NONE", "Unknown", "None assigned", "(null)"))
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def parse_queue(text: str) -> dict[str, Row]:
    """Jobs by id, as squeue prints them with columns :data:`QUEUE_FORMAT`."""
    found = {}
    for cells in _table(text, len(QUEUE_FORMAT)):
        identity, state, status, reason, host, start, end, name = cells
        raw = int(status) if status.isdecimal() else 0
        code, signal = (None, raw & 0x7F) if raw & 0x7F else (raw >> 8 & 0xFF, None)
        found[identity] = Row(identity, state, code, signal, _text(reason), _text(host), _time(start), _time(end), name)
    return found


def parse_history(text: str) -> dict[str, Row]:
    """Jobs by id, as sacct prints them and their steps with columns :data:`HISTORY_FORMAT`."""
    found: dict[str, Row] = {}
    for cells in _table(text, len(HISTORY_FORMAT)):
        identity, state, status, reason, host, start, end, limit, memory, name = cells
        job, _, step = identity.partition(".")
        if name == _UNFINISHED:
            continue
        if step:  # memory is known of steps alone; they follow their job
            peak = max(_size(memory), found[job].memory or 0) if job in found else 0
            if peak:
                found[job] = found[job]._replace(memory=peak)
            continue
        first, _, second = status.partition(":")
        signal = int(second) if second.isdecimal() else 0
        code = int(first) if first.isdecimal() and not signal else None
        row = Row(job, state, code, signal or None, _text(reason), _text(host), _time(start), _time(end), name)
        found[job] = row._replace(limit=_size(limit.rstrip("n")) or None)
    return found


def numbers(identity: str) -> list[int]:
    """Task numbers of an id: ``12_3`` has 3, ``12_[4-9:2,11%5]`` has 4, 6, 8, 11.

    The id of an array alone has none, and what Slurm cut off (``...``) is missing.
    """
    found: list[int] = []
    for part in identity.partition("_")[2].strip("[]").partition("%")[0].split(","):
        if match := re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part):
            first, last, step = (int(group) if group else None for group in match.groups())
            found += range(first or 0, (first or 0 if last is None else last) + 1, step or 1)
    return found


def master(identity: str) -> str:
    """Id of the array of a job."""
    return identity.partition("_")[0]


def compact(ids: Collection[str]) -> list[str]:
    """Ids such that one argument names all tasks of an array: ``12_[0-3,7]``."""
    tasks: dict[str, list[int]] = {}
    for identity in ids:
        tasks.setdefault(master(identity), []).extend(numbers(identity))
    return [f"{array}_[{_ranges(sorted(found))}]" if found else array for array, found in tasks.items()]


def merge(
    ids: Collection[str], queue: Mapping[str, Row], history: Mapping[str, Row] | None, user: int
) -> dict[str, JobStatus]:
    """Status by id, of the jobs of which something is known for sure.

    Tasks that were cancelled before they started share one record, under the id of the array, with or without their
    numbers: it counts for those that have no record of their own.

    Args:
        ids: jobs that are asked for.
        queue: what the controller remembers; it is right about jobs that are not over.
        history: what accounting says, maybe late; ``None`` if it does not answer.
        user: whose jobs they are.
    """
    records = history or {}
    queue_rest, history_rest = _rest(queue.values()), _rest(records.values())
    found = {}
    for identity in ids:
        row = queue.get(identity)
        if row is None or row.ended:
            rests = (_covering(rest, identity) for rest in (queue_rest, history_rest))
            row = _outcome(row, records.get(identity), *rests, told=history is not None)
        if row is not None and (answer := status(row, user)) is not None:
            found[identity] = answer
    return found


def _outcome(
    row: Row | None, record: Row | None, rest: Row | None, record_rest: Row | None, *, told: bool
) -> Row | None:
    if record is not None and record.ended:
        return record
    if row is not None and not row.is_vague:
        return row
    if record is None and record_rest is not None and record_rest.ended:
        return record_rest
    known = row or rest
    if told and known is not None and known.is_vague:
        return None  # accounting is late
    return known


def status(row: Row, user: int) -> JobStatus | None:
    """What a row means; ``None`` if it means nothing that is known.

    Args:
        row: what Slurm says.
        user: whose job it is.
    """
    if row.ended:
        return _ended(row, user)
    if row.word in _PENDING:
        return _waiting(row)
    base = JobStatus(JobState.RUNNING, in_queue=True, host=row.host, started=row.start, memory=row.memory)
    if row.word in _RUNNING:
        return base
    if row.word in _SUSPENDED:
        return JobStatus(JobState.HELD, in_queue=True, reason="suspended", host=row.host, started=row.start)
    if row.word in _STUCK:
        return JobStatus(JobState.FAILED, _STUCK[row.word], in_queue=True, reason=_because(row))
    return None


def _waiting(row: Row) -> JobStatus:
    if row.reason in _HELD_REASONS:
        return JobStatus(JobState.HELD, in_queue=True, reason=row.reason)
    if _STUCK_REASONS.match(row.reason):
        return JobStatus(JobState.FAILED, FailureClass.NODE, in_queue=True, reason=_because(row))
    if _NEVER_REASONS.fullmatch(row.reason):
        return JobStatus(JobState.FAILED, FailureClass.ENVIRONMENT, in_queue=True, reason=f"never runs: {row.reason}")
    return JobStatus(JobState.PENDING, in_queue=True, reason=row.reason)


def _ended(row: Row, user: int) -> JobStatus:
    failure = _ENDED[row.word]
    signal = row.signal if row.signal is not None and row.signal <= _SIGNALS else None
    reason = row.state
    by = re.fullmatch(r"CANCELLED by (\d+)", row.state)
    if by and int(by[1]) != user:
        failure = FailureClass.NODE
    elif row.word == "FAILED" and _NEVER_REASONS.fullmatch(row.reason):
        failure, reason = FailureClass.ENVIRONMENT, _because(row)
    elif row.word == "FAILED" and row.reason in _NODE_REASONS:
        failure, reason = FailureClass.NODE, _because(row)
    elif row.word == "FAILED" and row.signal == signals.SIGKILL and (row.memory or 0) > (row.limit or inf):
        failure, reason = FailureClass.MEMORY, "FAILED: killed above its memory limit"
    elif row.word == "FAILED" and row.signal == _NO_OUTPUT:
        failure, signal, reason = FailureClass.NODE, None, "FAILED: the node could not open the output file of the job"
    finished = row.word == "COMPLETED"
    return JobStatus(
        JobState.FINISHED if finished else JobState.FAILED,
        failure,
        exit_code=row.code if finished or row.code else None,
        signal=signal,
        reason="" if finished else reason,
        host=row.host,
        started=row.start,
        ended=row.end,
        memory=row.memory,
    )


def _because(row: Row) -> str:
    return f"{row.state}: {row.reason}" if row.reason else row.state


def _rest(rows: Collection[Row]) -> dict[str, Row]:
    """Records of tasks that never started, by array: cancelled, or refused at submission."""
    never = (row for row in rows if row.word == "CANCELLED" or _NEVER_REASONS.fullmatch(row.reason))
    return {master(row.id): row for row in never if "_" not in row.id or "[" in row.id}


def _covering(rest: Mapping[str, Row], identity: str) -> Row | None:
    row = rest.get(master(identity))
    if row is None or "_" not in row.id or "..." in row.id or set(numbers(identity)) <= set(numbers(row.id)):
        return row
    return None


def _ranges(tasks: Sequence[int]) -> str:
    spans: list[list[int]] = []
    for task in tasks:
        if spans and task <= spans[-1][1] + 1:
            spans[-1][1] = task
        else:
            spans.append([task, task])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def _table(text: str, columns: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        cells = line.split("|", columns - 1)
        if len(cells) == columns and re.match(r"\d+($|[_.])", cells[0]):
            yield [cell.strip() for cell in cells]


def _text(cell: str) -> str:
    return "" if cell in _NOTHING else cell


def _time(cell: str) -> float | None:
    return float(cell) if cell.isdecimal() else None


def _size(cell: str) -> int:
    match = re.fullmatch(r"([\d.]+)([KMGT]?)", cell)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0
