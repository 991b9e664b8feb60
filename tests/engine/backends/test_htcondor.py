from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.backends import htcondor
from analysis.engine.backends.base import (
    BackendError,
    JobState,
    QueueFullError,
    SchedulerDownError,
    Submission,
    SubmissionError,
)
from analysis.engine.backends.htcondor import HTCondor, HTCondorSettings
from analysis.engine.backends.htcondor_clients import Bindings, Tools, choose, submission_error
from analysis.engine.backends.inflight import in_flight


class Replies:
    """Takes the place of the programs: notes how they are called, and answers one after the other."""

    def __init__(self, *answers: tuple[int, str, str] | BaseException) -> None:
        self.answers = list(answers)
        self.commands: list[Sequence[str]] = []
        self.options: list[dict[str, Any]] = []

    def __call__(self, command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.options.append(options)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return subprocess.CompletedProcess(command, *answer)


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> Replies:
    fake = Replies()
    monkeypatch.setattr(subprocess, "run", fake)
    return fake


@pytest.fixture
def submission(tmp_path: Path) -> Submission:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/bash\n")
    return Submission("abc", "test", tmp_path, script, ("1:a", "2:b"))


def tools(**settings: Any) -> HTCondor:
    return HTCondor(HTCondorSettings(client="tools", **settings))


def test_submission_is_one_call_that_holds_the_lock(replies: Replies, submission: Submission) -> None:
    replies.answers = [(0, "12.0 - 12.1\n", "")]
    assert tools(pool="cm", schedd="ap1").submit(submission) == ["12.0", "12.1"]
    assert replies.commands == [["condor_submit", "-pool", "cm", "-name", "ap1", "-terse", "job.sub"]]
    (options,) = replies.options
    assert options["cwd"] == submission.folder
    assert len(options["pass_fds"]) == 1
    assert options["env"]["LC_ALL"] == "C"
    assert (submission.folder / "job.sub").read_text().endswith("queue 2\n")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((0, "", ""), SchedulerDownError),
        (
            (1, "", "\nERROR: Failed to create proc\nNumber of submitted jobs would exceed MAX_JOBS_PER_OWNER"),
            QueueFullError,
        ),
        (subprocess.TimeoutExpired("condor_submit", 60), SchedulerDownError),
        (FileNotFoundError(), BackendError),
    ],
)
def test_submission_fails(
    replies: Replies, submission: Submission, answer: tuple[int, str, str] | BaseException, error: type[BackendError]
) -> None:
    replies.answers = [answer]
    with pytest.raises(error) as raised:
        tools().submit(submission)
    assert type(raised.value) is error


def test_missing_files_are_refused_before_the_jobs_would_be_held(replies: Replies, submission: Submission) -> None:
    submission.script.unlink()
    with pytest.raises(SubmissionError, match=r"job\.sh, which the jobs need, does not exist"):
        tools().submit(submission)
    assert replies.commands == []


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("ERROR: Failed to create proc\nNumber of submitted jobs would exceed MAX_JOBS_PER_SUBMISSION", QueueFullError),
        ("Number of submitted jobs would exceed MAX_JOBS_SUBMITTED", QueueFullError),
        ("Failed to create new proc ID.", QueueFullError),  # bindings
        ("ERROR: Can't find address of local schedd", SchedulerDownError),
        ("ERROR: Failed to connect to local queue manager\nCEDAR:6001:Failed to connect to <..>", SchedulerDownError),
        ("ERROR: Failed to commit job submission into the queue.\n", SchedulerDownError),
        ("ERROR: Failed to commit job submission into the queue.\nERROR: too many cores", SubmissionError),
        ("Unable to commit transaction: too many cores for this queue", SubmissionError),
        ("ERROR: Failed to connect to local queue manager\nAUTHENTICATE:1003:Failed to authenticate", SubmissionError),
        ("ERROR: Parse error in expression: \n\tRequestMemory = abc(", SubmissionError),
        ("ERROR: I don't know about the 'martian' universe.", SubmissionError),
    ],
)
def test_words_of_a_refusal(words: str, error: type[BackendError]) -> None:
    assert type(submission_error(words)) is error


QUEUE = """[
{"ClusterId": 7, "ProcId": 0, "JobStatus": 2, "RemoteHost": "slot1@node", "RequestMemory": "\\/Expr(1+1)\\/"},
{"ClusterId": 7, "ProcId": 1, "JobStatus": 1}
]"""
HISTORY = '[{"ClusterId": 7, "ProcId": 3, "JobStatus": 4, "ExitCode": 0}]'


def test_query_asks_the_history_for_what_left_the_queue(replies: Replies) -> None:
    replies.answers = [(0, QUEUE, ""), (0, HISTORY, "")]
    states = tools().query(["7.0", "7.2", "7.3", "7.4", "9.0"], since=1_000_000.0)
    assert {job: status.state for job, status in states.items()} == {"7.0": JobState.RUNNING, "7.3": JobState.FINISHED}
    assert states["7.0"].host == "node"
    queue, history = replies.commands
    assert queue[-2:] == ["-constraint", "member(ClusterId, {7,9})"]
    assert history[0] == "condor_history"
    assert history[-6:] == [
        "-constraint",
        "(ClusterId==7&&ProcId>=2&&ProcId<=4)||(ClusterId==9&&ProcId>=0&&ProcId<=0)",
        "-since",
        'JobStatus == 4 && CompletionDate < 996400 && unparse(LeaveJobInQueue) =?= "false"',
        "-limit",
        "4",
    ]


def test_query_without_the_history(replies: Replies) -> None:
    replies.answers = [(0, QUEUE, "")]
    assert set(tools().query(["7.0", "7.1"], since=0.0)) == {"7.0", "7.1"}
    assert tools().query([], since=0.0) == {}


@pytest.mark.parametrize("answer", [(1, "", "-- Failed to fetch ads from: <...>"), (0, '[\n{"ClusterId": 7,', "")])
def test_query_of_a_scheduler_that_is_down(replies: Replies, answer: tuple[int, str, str]) -> None:
    replies.answers = [answer]
    with pytest.raises(SchedulerDownError):
        tools().query(["7.0"], since=0.0)


def test_find_looks_into_queue_and_history(replies: Replies) -> None:
    replies.answers = [(0, QUEUE, ""), (0, HISTORY, "")]
    assert tools().find("abc", since=0.0) == {0: "7.0", 1: "7.1", 3: "7.3"}
    assert all('AnalysisToken == "abc"' in command for command in replies.commands)
    replies.answers = [(0, "", ""), (0, "[\n]\n", "")]
    assert tools().find("abc", since=0.0) == {}


def test_cancel_ignores_jobs_that_are_gone(replies: Replies) -> None:
    replies.answers = [
        (1, "", "Couldn't find/remove all jobs"),
        (1, "", "Permission denied"),
        (1, "", "SECMAN:2007: no"),
    ]
    tools().cancel(["7.1", "7.0"])
    assert replies.commands == [["condor_rm", "7.0", "7.1"]]
    with pytest.raises(BackendError, match="Permission denied"):
        tools().cancel(["7.0"])
    with pytest.raises(SchedulerDownError):
        tools().cancel(["7.0"])
    tools().cancel([])


def test_check_names_root(monkeypatch: pytest.MonkeyPatch, replies: Replies) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(BackendError, match="no jobs of root"):
        tools().check()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    replies.answers = [(0, "[]", "")]
    tools().check()


def test_auto_takes_the_bindings_only_if_they_are_let_in(replies: Replies) -> None:
    replies.answers = [(0, "null", ""), (1, "", "the Python bindings are not installed")]
    assert isinstance(choose("auto"), Bindings)
    assert isinstance(choose("auto"), Tools)
    with pytest.raises(BackendError, match="one of auto, bindings, tools"):
        choose("pigeons")


def test_a_submission_given_up_is_not_made(replies: Replies, submission: Submission) -> None:
    with in_flight(submission.folder) as descriptor:
        os.write(descriptor, b"given up\n")
    with pytest.raises(SubmissionError, match="given up"):
        tools().submit(submission)
    assert replies.commands == []


@given(st.sets(st.tuples(st.integers(1, 5), st.integers(0, 30))))
def test_constraints_hold_for_just_the_jobs(jobs: set[tuple[int, int]]) -> None:
    parts = list(htcondor._constraints(f"{cluster}.{number}" for cluster, number in jobs))
    whole = "||".join(text for text, _ in parts).replace("||", " or ").replace("&&", " and ") or "False"
    selected = {
        (cluster, number)
        for cluster in range(1, 6)
        for number in range(31)
        if eval(whole, {"ClusterId": cluster, "ProcId": number})
    }
    assert selected == jobs
    assert sum(count for _, count in parts) == len(jobs)


def test_constraints_fit_a_command_line() -> None:
    parts = list(htcondor._constraints(f"123456.{number}" for number in range(0, 40_000, 2)))
    assert len(parts) > 1
    assert all(len(text) < 2**17 for text, _ in parts)
    assert sum(count for _, count in parts) == 20_000
