from __future__ import annotations

from queue import Queue

import pytest

from analysis.engine.backends.messages import HELP, AbortedError, answer, handle_messages, page_text
from tests.engine.backends.fake import Jobs, Site

pytestmark = pytest.mark.usefixtures("store", "no_configuration")


class Message:
    def __init__(self, text: str) -> None:
        self._text, self.answer = text, ""

    def __str__(self) -> str:
        return self._text

    def respond(self, text: str) -> None:
        self.answer = text


@pytest.fixture
def task() -> Jobs:
    found = Jobs(workflow="slurm", label="messages")
    found.parallel_jobs, found.retries, found.poll_interval, found.is_paused = -1, 5, 20.0, False
    return found


def send(task: Jobs, *texts: str) -> list[Message]:
    messages = [Message(text) for text in texts]
    task.scheduler_messages = Queue()
    for message in messages:
        task.scheduler_messages.put(message)
    return messages


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("parallel_jobs = 10", "parallel_jobs", 10),
        ("parallel_jobs:0", "parallel_jobs", 0),
        ("retries=0", "retries", 0),
        ("poll_interval = 30s", "poll_interval", 30.0),
        ("poll_interval = 5min", "poll_interval", 300.0),
        ("poll_interval = 5 min", "poll_interval", 300.0),
        ("pause", "is_paused", True),
    ],
)
def test_what_can_be_said(task: Jobs, text: str, name: str, value: object) -> None:
    answer(task, text)
    assert getattr(task, name) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "stop",
        "memory = 4GB",
        "parallel_jobs",
        "parallel_jobs =",
        "parallel_jobs = many",
        "parallel_jobs = -3",
        "retries = 1.5",
        "poll_interval = soon",
        "poll_interval = 0s",
        "poll_interval = -5s",
        "workflow = local",
        "__class__ = x",
        "Pause",
    ],
)
def test_what_makes_no_sense_changes_nothing(task: Jobs, text: str) -> None:
    before = (task.parallel_jobs, task.retries, task.poll_interval, task.is_paused, task.workflow)
    said = answer(task, text)
    assert said.startswith(f"not understood: {text!r}; say one of {HELP}") or " stays as it is: " in said
    assert (task.parallel_jobs, task.retries, task.poll_interval, task.is_paused, task.workflow) == before


def test_all_messages_are_answered(task: Jobs) -> None:
    first, second, third = send(task, " pause ", "nonsense", "resume")
    assert handle_messages(task)
    assert first.answer == "no more jobs are submitted until 'resume'"
    assert second.answer.startswith("not understood")
    assert third.answer == "jobs are submitted again"
    assert not task.is_paused
    assert not handle_messages(task)


def test_no_messages_without_a_scheduler() -> None:
    assert not handle_messages(Jobs(label="alone"))


def test_abort_is_answered_and_ends_it(task: Jobs) -> None:
    first, second = send(task, "abort", "pause")
    with pytest.raises(AbortedError, match=r"was aborted on the scheduler's page"):
        handle_messages(task)
    assert (first.answer, second.answer) == ("all jobs are removed from the queue", "")


def test_page_shows_no_html() -> None:
    assert not set(page_text("<script>alert(1)</script>")) & set("<>")


def test_abort_removes_all_jobs(site: Site) -> None:
    workflow = site.workflow(3, no_canary=True)
    site.fake.seconds = 1e9
    site.later(30.0, lambda: send(workflow, "abort"))
    with pytest.raises(AbortedError):
        site.run(workflow)
    assert sorted(site.fake.cancelled) == ["100.0", "100.1", "100.2"]
    with site.ledger() as ledger:
        assert ledger.workflows() == []


def test_nothing_is_submitted_during_a_pause(site: Site) -> None:
    workflow = site.workflow(3)
    site.later(3.0, lambda: send(workflow, "pause"))
    site.later(500.0, lambda: send(workflow, "resume"))
    site.run(workflow)
    assert site.fake.sizes() == [1, 2]
    assert site.fake.jobs_of(2)[0].born - site.clock.start > 500


def test_limit_can_be_raised(site: Site) -> None:
    workflow = site.workflow(6, no_canary=True, parallel_jobs=1)
    site.later(3.0, lambda: send(workflow, "parallel_jobs = 4"))
    site.run(workflow)
    assert site.fake.sizes()[0] == 1
    assert site.fake.peak == 4
