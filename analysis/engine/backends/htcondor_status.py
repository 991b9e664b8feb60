"""What HTCondor's description of a job means: pure functions of job ClassAds.

Source:
    HTCondor Manual, "Job ClassAd Attributes" and "Hold Reason Codes".
"""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping

from analysis.engine.backends.base import FailureClass, JobState, JobStatus

Ad = Mapping[str, object]
"""Attributes of a job by name, as they come in JSON: numbers, truth values, texts; expressions are left out."""

TOKEN = "AnalysisToken"
"""Attribute that holds the token of the submission."""

ATTRIBUTES = (
    "ClusterId",
    "ProcId",
    "Owner",
    "JobStatus",
    "EnteredCurrentStatus",
    "JobCurrentStartDate",
    "CompletionDate",
    "NumJobStarts",
    "VacateReason",
    "HoldReason",
    "HoldReasonCode",
    "HoldReasonSubCode",
    "RemoveReason",
    "ExitBySignal",
    "ExitSignal",
    "ExitCode",
    "RemoteHost",
    "LastRemoteHost",
    "ResidentSetSize",
    "ResidentSetSize_RAW",
    "RequestMemory",
)
"""All that :func:`job_status` looks at."""

_IDLE, _RUNNING, _REMOVED, _COMPLETED, _HELD, _TRANSFERRING, _SUSPENDED = range(1, 8)
_SPOOLING = 16
_BY_PERSON = (1, 15)  # condor_hold; submitted on hold
_CANNOT_START = 6
_OUT_OF_RESOURCES, _DISK = 34, 104
_NOT_EXECUTABLE = (errno.ENOENT, errno.ENOEXEC, errno.EACCES, errno.ENOTDIR)
_KILL = 9
_CLASSES = {
    4: FailureClass.CREDENTIAL,  # invalid credentials
    **dict.fromkeys((7, 8, 9, 10), FailureClass.STORAGE),  # standard streams cannot be opened
    12: FailureClass.STORAGE,  # transfer of output
    13: FailureClass.STORAGE,  # transfer of input
    14: FailureClass.STORAGE,  # initial directory
    22: FailureClass.STORAGE,  # event log
    23: FailureClass.CREDENTIAL,  # user account
    32: FailureClass.STORAGE,  # input too large
    33: FailureClass.STORAGE,  # output too large
    35: FailureClass.ENVIRONMENT,  # Docker image
    43: FailureClass.ENVIRONMENT,  # pre script
    45: FailureClass.ENVIRONMENT,  # singularity does not work
    46: FailureClass.WALLTIME,  # allowed_job_duration
    47: FailureClass.WALLTIME,  # allowed_execute_duration
}
"""Failure class by HoldReasonCode, where the code alone tells."""
_WORDS = (
    (FailureClass.MEMORY, re.compile(r"memory|\boom\b|residentsetsize", re.IGNORECASE)),
    (FailureClass.WALLTIME, re.compile(r"\bwall|wall.?(clock|time)|duration|run.?time|time limit", re.IGNORECASE)),
    (FailureClass.STORAGE, re.compile(r"no space left|enospc|quota|\bdisk|diskusage", re.IGNORECASE)),
    (FailureClass.CREDENTIAL, re.compile(r"credential|proxy|kerberos|\btokens?\b", re.IGNORECASE)),
)
"""What administrators write into the reasons of their policies."""
_BY_USER = re.compile(r"\(by user ([^\s)@]+)")


def job_id(ad: Ad) -> str:
    """Id of a job, such as ``1234.0``."""
    return f"{ad['ClusterId']}.{ad['ProcId']}"


def job_status(ad: Ad, *, queued: bool) -> JobStatus:
    """What a job's description says in the words of the engine.

    Jobs that were evicted and wait again are pending: HTCondor starts them again by itself.

    Args:
        ad: with :data:`ATTRIBUTES`, as far as the job has them.
        queued: whether it comes from the queue, not from the history.
    """
    code = _number(ad, "JobStatus")
    if code == _COMPLETED:
        return _completed(ad)
    if code == _REMOVED:
        return _removed(ad, queued)
    if code == _HELD:
        return _held(ad)
    if code == _SUSPENDED:
        return _status(ad, JobState.HELD, in_queue=True, reason="suspended")
    if code in (_RUNNING, _TRANSFERRING):
        return _status(ad, JobState.RUNNING, in_queue=True)
    evicted = _text(ad, "VacateReason") if _number(ad, "NumJobStarts") else ""
    return _status(ad, JobState.PENDING, in_queue=True, reason=evicted)


def hold_class(code: int, subcode: int, reason: str) -> FailureClass:
    """Why the system put a job on hold.

    Args:
        code: ``HoldReasonCode``.
        subcode: ``HoldReasonSubCode``; for many codes an errno.
        reason: ``HoldReason``; decides where the code is that of a policy.
    """
    if code == _OUT_OF_RESOURCES:
        return FailureClass.STORAGE if subcode == _DISK else FailureClass.MEMORY
    if code == _CANNOT_START and subcode in _NOT_EXECUTABLE:
        return FailureClass.ENVIRONMENT
    return _CLASSES.get(code) or _by_words(reason) or FailureClass.NODE


def _completed(ad: Ad) -> JobStatus:
    if ad.get("ExitBySignal") is True:
        signal = _number(ad, "ExitSignal")
        failure = FailureClass.MEMORY if signal == _KILL and _exceeds_memory(ad) else None
        return _status(ad, JobState.FAILED, failure, signal=signal, reason=f"ended by signal {signal}")
    code = _number(ad, "ExitCode")
    if code == 0:
        return _status(ad, JobState.FINISHED, exit_code=0)
    failure = FailureClass.MEMORY if code == 128 + _KILL and _exceeds_memory(ad) else None
    return _status(ad, JobState.FAILED, failure, exit_code=code, reason=f"ended with exit code {code}")


def _removed(ad: Ad, queued: bool) -> JobStatus:
    reason = _text(ad, "RemoveReason")
    person = _BY_USER.search(reason)
    if person and person[1] == ad.get("Owner"):
        failure = FailureClass.REMOVED
    elif "HoldReasonCode" in ad and not person:  # a policy cleared a job away that was on hold: why it was
        failure = _by_words(reason) or _hold_class(ad)
    else:
        failure = _by_words(reason) or FailureClass.NODE
    # a job whose machine does not answer stays in the queue, marked with X
    return _status(ad, JobState.FAILED, failure, in_queue=queued, reason=reason)


def _held(ad: Ad) -> JobStatus:
    code, reason = _number(ad, "HoldReasonCode"), _text(ad, "HoldReason")
    if code in _BY_PERSON:
        return _status(ad, JobState.HELD, in_queue=True, reason=reason)
    if code == _SPOOLING:
        return _status(ad, JobState.PENDING, in_queue=True, reason=reason)
    return _status(ad, JobState.FAILED, _hold_class(ad), in_queue=True, reason=reason)


def _hold_class(ad: Ad) -> FailureClass:
    return hold_class(_number(ad, "HoldReasonCode"), _number(ad, "HoldReasonSubCode"), _text(ad, "HoldReason"))


def _by_words(reason: str) -> FailureClass | None:
    return next((failure for failure, words in _WORDS if words.search(reason)), None)


def _status(
    ad: Ad,
    state: JobState,
    failure: FailureClass | None = None,
    *,
    in_queue: bool = False,
    exit_code: int | None = None,
    signal: int | None = None,
    reason: str = "",
) -> JobStatus:
    ended = None if state.is_active else _number(ad, "CompletionDate") or _number(ad, "EnteredCurrentStatus") or None
    return JobStatus(
        state=state,
        failure=failure,
        in_queue=in_queue,
        exit_code=exit_code,
        signal=signal,
        reason=reason,
        host=(_text(ad, "RemoteHost") or _text(ad, "LastRemoteHost")).rpartition("@")[2],
        started=None if state is JobState.PENDING else _number(ad, "JobCurrentStartDate") or None,
        ended=ended,
        memory=_memory(ad) or None,
    )


def _memory(ad: Ad) -> int:
    """Peak [bytes]; HTCondor counts in KiB, and rounds the attribute without _RAW up by as much as 25 %."""
    return 1024 * (_number(ad, "ResidentSetSize_RAW") or _number(ad, "ResidentSetSize"))


def _exceeds_memory(ad: Ad) -> bool:
    return 0 < 2**20 * _number(ad, "RequestMemory") <= _memory(ad)


def _number(ad: Ad, name: str) -> int:
    value = ad.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _text(ad: Ad, name: str) -> str:
    value = ad.get(name)
    return " ".join(value.split()) if isinstance(value, str) else ""
