from __future__ import annotations

import sys
from pathlib import Path

import pytest

from analysis.engine.backends import submit
from analysis.engine.backends.base import FailureClass, JobState, JobStatus, SchedulerDownError
from analysis.engine.backends.controller import DetachedError
from analysis.engine.backends.jobsandbox import Software
from analysis.engine.backends.settings import jobs_folder
from analysis.engine.sandboxes.base import SandboxError
from tests.engine.backends.fake import (
    OK,
    VANISH,
    Site,
    refusal,
)

MEMORY, NODE = FailureClass.MEMORY, FailureClass.NODE
STUCK = JobStatus(JobState.FAILED, MEMORY, in_queue=True, reason="memory usage exceeded request_memory")


def elapsed(site: Site) -> float:
    return site.clock.now - site.clock.start


# submissions


def test_answer_of_a_submission_that_was_lost_is_found(site: Site) -> None:
    site.fake.loses_answer = True
    site.later(2.0, lambda: setattr(site.fake, "loses_answer", False))
    workflow = site.workflow(4)
    site.run(workflow)
    assert site.fake.times() == dict.fromkeys(range(4), 1)
    assert site.done(workflow) == [0, 1, 2, 3]


def test_submission_that_was_not_taken_is_made_again(site: Site) -> None:
    site.fake.down = {"submit"}
    site.later(60.0, site.fake.down.clear)
    site.run(site.workflow(4, no_canary=True))
    assert site.fake.times() == dict.fromkeys(range(4), 1)
    assert len(list(jobs_folder().glob("Jobs-*"))) == 0


def test_submission_is_not_made_again_as_long_as_nobody_knows(site: Site) -> None:
    site.fake.loses_answer = True
    site.fake.down = {"find", "query"}
    site.later(3000.0, site.fake.down.clear)
    site.run(site.workflow(4, no_canary=True))
    assert site.fake.times() == dict.fromkeys(range(4), 1)
    assert elapsed(site) > 3000


@pytest.mark.parametrize("call", ["submit", "find", "query", "cancel"])
def test_scheduler_that_is_down_every_other_minute(site: Site, call: str) -> None:
    site.fake.script = {0: [STUCK, OK], 1: [NODE, OK], 2: [VANISH, OK]}

    def toggle() -> None:
        site.fake.down = {call} if int(site.clock.now - site.clock.start) // 60 % 2 == 0 else set()

    site.clock.hooks.append(toggle)
    workflow = site.workflow(4)
    site.run(workflow)
    assert site.fake.times() == {0: 2, 1: 2, 2: 2, 3: 1}
    assert site.done(workflow) == [0, 1, 2, 3]


def test_scheduler_that_is_down_at_first_says_so(site: Site) -> None:
    site.fake.down = {"check"}
    with pytest.raises(SchedulerDownError):
        site.run(site.workflow(1))
    assert site.fake.jobs == {}


def test_scheduler_that_is_down_at_first_is_waited_for_if_it_has_jobs(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    workflow = site.workflow(2, no_poll=True)
    with pytest.raises(DetachedError):
        site.run(workflow)
    site.fake.down = {"check", "query"}

    def come_back() -> None:
        if site.clock.now - site.clock.start > 100:
            site.fake.down = set()

    site.clock.hooks.append(come_back)
    again = site.workflow(2)
    site.run(again)
    assert site.fake.times() == {0: 1, 1: 1}
    assert site.done(again) == [0, 1]
    assert capfd.readouterr().err.count("nothing is concluded from that, jobs run on") == 1


def test_refused_submission_leaves_nothing(site: Site) -> None:
    site.fake.refusal = refusal("no such partition")
    workflow = site.workflow(2)
    with pytest.raises(type(site.fake.refusal), match="no such partition"):
        site.run(workflow)
    assert site.results(workflow) == {}
    assert list(jobs_folder().glob("Jobs-*")) == []


def test_sandbox_that_cannot_be_had_leaves_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the jobs that follow the first one."""

    def refuse(*_: object) -> Software:
        if site.fake.jobs:
            raise SandboxError(msg)
        return Software(Path(sys.prefix))

    msg = "venv::analysis cannot be built"
    monkeypatch.setattr(submit, "software_of", refuse)
    workflow = site.workflow(3)
    with pytest.raises(SandboxError, match=msg):
        site.run(workflow)
    assert site.done(workflow) == [0]
    with site.ledger() as ledger:
        assert ledger.pending(str(workflow.folder)) == []


def test_full_queue_is_filled_again_and_again(site: Site) -> None:
    site.fake.room = 3
    workflow = site.workflow(11, no_canary=True)
    site.run(workflow)
    assert site.fake.times() == dict.fromkeys(range(11), 1)
    assert site.fake.peak == 3


def test_queue_that_is_full_of_other_jobs_of_ours_gets_room(site: Site) -> None:
    site.fake.room = 2
    with pytest.raises(DetachedError):
        site.run(site.workflow(2, label="other", no_poll=True))
    site.fake.seconds = 500.0
    workflow = site.workflow(3)
    site.run(workflow)
    assert site.done(workflow) == [0, 1, 2]
    assert site.fake.peak == 2


def test_queue_that_takes_nothing_at_all_is_an_error(site: Site) -> None:
    site.fake.room = 0
    with pytest.raises(Exception, match=r"^the queue is full$"):
        site.run(site.workflow(3))


def test_limit_of_jobs_holds_all_the_time(site: Site) -> None:
    site.fake.script = {1: [NODE, OK], 5: [MEMORY, OK]}
    workflow = site.workflow(9, parallel_jobs=3, no_canary=True)
    site.run(workflow)
    assert site.fake.peak == 3
    assert site.done(workflow) == list(range(9))


def test_limit_of_the_site_comes_first(site: Site) -> None:
    site.configure("batch", queue_limit=2)
    site.run(site.workflow(5, parallel_jobs=4, no_canary=True))
    assert site.fake.peak == 2


def test_branches_share_a_job(site: Site) -> None:
    site.run(site.workflow(5, tasks_per_job=3, no_canary=True))
    assert [sorted(job.branches) for job in site.fake.jobs.values()] == [[0, 1, 2], [3, 4]]


def test_submission_has_no_more_jobs_than_the_scheduler_takes(site: Site) -> None:
    site.fake.max_jobs = 2
    site.run(site.workflow(5, no_canary=True))
    assert site.fake.sizes() == [2, 2, 1]
