from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.backends.collect import Collector
from analysis.engine.backends.failures import EXIT_CODES
from analysis.engine.backends.joblogs import OK as WELL
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import CANCELLED, DONE, FAILED, RETRY
from analysis.engine.backends.settings import batch_settings, jobs_folder
from analysis.engine.backends.submit import Submitter
from analysis.engine.snapshot import Snapshot
from tests.engine.backends.fake import FakeJob, Jobs, Site

CODE, NODE, STORAGE, ENVIRONMENT = (
    FailureClass.CODE,
    FailureClass.NODE,
    FailureClass.STORAGE,
    FailureClass.ENVIRONMENT,
)
FINISHED = JobStatus(JobState.FINISHED, exit_code=0)


class Desk:
    """Jobs that were submitted, and a collector."""

    def __init__(self, site: Site, workflow: Jobs, ledger: Ledger) -> None:
        self.site, self.workflow, self.ledger, self.key = site, workflow, ledger, str(workflow.folder)
        settings, self.snapshot = batch_settings(), Snapshot()
        self.submitter = Submitter(workflow, ledger, settings, self.snapshot)
        self.collector = Collector(workflow, ledger, settings, self.snapshot)
        tasks = {b: workflow.branch_task(b) for b in workflow.branch_numbers()}
        self.wanted = {branch: self.submitter.digest(task) for branch, task in tasks.items()}
        self.start = site.clock.time()
        self.submitter.submit(list(tasks), {}, self.wanted)
        site.clock.hooks.clear()  # jobs do what a test says

    def job(self, branch: int = 0) -> FakeJob:
        return self.site.fake.jobs_of(branch)[-1]

    def say(self, status: JobStatus | None, branch: int = 0) -> bool:
        """Let the scheduler say something of the job of a branch, and look."""
        answer = {} if status is None else {self.job(branch).id: status}
        self.ledger.claim_poll("htcondor", 0.0)
        self.ledger.answered("htcondor", answer, 1e9)
        return self.collector.collect(self.wanted)

    def results(self) -> dict[int, list[tuple[str | None, FailureClass | None]]]:
        found = self.ledger.attempts(self.key)
        return {branch: [(a.result, a.failure) for a in attempts] for branch, attempts in found.items()}

    def sentence(self, branch: int = 0) -> str:
        return str(self.collector.failures([branch], self.start)[branch].failure)


@pytest.fixture
def desk(site: Site) -> Iterator[Desk]:
    ledger = Ledger(jobs_folder() / "ledger.db")
    yield Desk(site, site.workflow(2, retries=0), ledger)
    ledger.close()


def test_branch_is_done_if_its_manifest_is_current(desk: Desk) -> None:
    desk.workflow.branch_task(0).run()
    assert not desk.say(JobStatus(JobState.RUNNING, in_queue=True))
    assert desk.say(FINISHED)
    assert desk.results() == {0: [(DONE, None)], 1: [(None, None)]}
    assert desk.collector.done == {0}
    assert not desk.say(FINISHED)


def test_job_that_failed_after_its_branch_is_fine(desk: Desk) -> None:
    desk.workflow.branch_task(0).run()
    desk.say(JobStatus(JobState.FAILED, FailureClass.MEMORY, in_queue=True))
    assert desk.results()[0] == [(DONE, None)]


@pytest.mark.parametrize("state", [JobState.PENDING, JobState.RUNNING, JobState.HELD])
def test_active_job_is_left_alone(desk: Desk, state: JobState) -> None:
    desk.workflow.branch_task(0).run()
    assert not desk.say(JobStatus(state, in_queue=True))
    assert desk.results()[0] == [(None, None)]


@pytest.mark.parametrize("code", sorted(EXIT_CODES))
def test_exit_code_of_the_job_script_is_told(desk: Desk, code: int) -> None:
    desk.say(JobStatus(JobState.FAILED, exit_code=code))
    kind, reason = EXIT_CODES[code]
    assert desk.results()[0] == [(FAILED, kind)]
    assert desk.sentence() == reason


def test_last_line_of_the_output_says_more(desk: Desk) -> None:
    text = b"x" * 5000 + b"\xff\nthe repository /r is missing\n\n  \n"
    (desk.job().submission.folder / "job_0.txt").write_bytes(text)
    desk.say(JobStatus(JobState.FAILED, exit_code=81))
    assert desk.sentence() == "the repository /r is missing"


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (JobStatus(JobState.FAILED, FailureClass.MEMORY, reason="too much"), FailureClass.MEMORY, "too much"),
        (JobStatus(JobState.FAILED, FailureClass.WALLTIME), FailureClass.WALLTIME, "the batch system ended the job"),
        (JobStatus(JobState.FAILED, signal=9, reason="killed"), NODE, "the job was killed (signal 9): killed"),
        (JobStatus(JobState.FAILED, exit_code=127), NODE, "the job ended with exit code 127, before or after its bran"),
        (JobStatus(JobState.FAILED, exit_code=0), NODE, "the job ended with exit code 0, before or after its branches"),
        (JobStatus(JobState.FAILED), NODE, "the job ended with exit code None, before or after its branches"),
    ],
)
def test_what_the_scheduler_says_of_a_failure(desk: Desk, status: JobStatus, kind: FailureClass, sentence: str) -> None:
    assert desk.say(status)
    assert desk.results()[0][0][1] is kind
    if kind is NODE:
        assert desk.sentence().startswith(sentence)


@pytest.mark.parametrize("status", [FINISHED, JobStatus(JobState.FAILED, exit_code=1)])
def test_report_may_come_late_but_not_for_ever(desk: Desk, status: JobStatus) -> None:
    assert not desk.say(status)
    desk.site.clock.sleep(50.0)
    assert not desk.say(None)
    desk.site.clock.sleep(11.0)
    assert desk.say(None)
    assert desk.results()[0] == [(FAILED, STORAGE)]


def test_report_comes_before_what_the_scheduler_says(desk: Desk) -> None:
    desk.site.fake.report(desk.job(), 0, CODE)
    desk.say(JobStatus(JobState.FAILED, NODE, reason="killed"))
    assert desk.results()[0] == [(FAILED, CODE)]
    assert desk.sentence() == "SomeError: branch 0 has a bad day"


def test_report_of_another_job_says_nothing(desk: Desk) -> None:
    job = desk.job()
    for token, position in (("other", 0), (job.token, 1)):
        other = FakeJob("9.9", token, job.branches, job.submission, 0.0, position=position)
        desk.site.fake.report(other, 0, CODE)
    assert not desk.say(FINISHED)


def test_report_of_the_first_start_of_a_job_that_was_started_again_says_nothing(desk: Desk) -> None:
    desk.site.fake.report(desk.job(), 0, NODE)
    desk.site.clock.sleep(10.0)
    desk.site.fake.report(desk.job(), 0, NODE, result=WELL)
    assert not desk.say(FINISHED)
    desk.workflow.branch_task(0).run()
    assert desk.say(FINISHED)
    assert desk.results()[0] == [(DONE, None)]


def test_report_that_cannot_be_read_is_a_failure_of_its_class(desk: Desk) -> None:
    desk.site.fake.report(desk.job(), 0, CODE)
    for path in (Path(desk.workflow.folder) / "logs").glob("*.json"):
        path.write_text("{")
    desk.say(JobStatus(JobState.FAILED, exit_code=1))
    assert desk.results()[0] == [(FAILED, CODE)]
    assert "cannot be read" in desk.sentence()


def test_job_that_nobody_mentions_is_lost_only_while_there_are_answers(desk: Desk) -> None:
    desk.say(None)
    desk.site.clock.sleep(899.0)
    assert not desk.say(None)
    desk.ledger.answered("htcondor", {}, 1e9, "down")
    desk.site.clock.sleep(2.0)
    assert not desk.collector.collect(desk.wanted)
    assert desk.say(None)
    assert desk.results() == {0: [(FAILED, NODE)], 1: [(FAILED, NODE)]}
    assert sorted(desk.site.fake.cancelled) == ["100.0", "100.1"]
    assert "neither the queue nor the history know the job" in desk.sentence()


def test_lost_job_whose_output_is_there_is_done(desk: Desk) -> None:
    desk.say(None)
    desk.workflow.branch_task(0).run()
    desk.site.clock.sleep(901.0)
    desk.say(None)
    assert desk.results() == {0: [(DONE, None)], 1: [(FAILED, NODE)]}


def test_results_are_kept_if_a_failed_job_cannot_be_removed(desk: Desk) -> None:
    desk.workflow.branch_task(1).run()
    desk.site.fake.down = {"cancel"}
    desk.say(FINISHED, 1)
    desk.say(JobStatus(JobState.FAILED, NODE, in_queue=True))
    assert desk.results() == {0: [(None, None)], 1: [(DONE, None)]}
    desk.site.fake.down = set()
    desk.say(None)
    assert desk.results()[0] == [(FAILED, NODE)]


def test_branches_of_somebody_else_are_left_alone(desk: Desk) -> None:
    desk.wanted = {1: desk.wanted[1]}
    desk.site.clock.sleep(1000.0)
    desk.say(JobStatus(JobState.FAILED, NODE))
    assert desk.results()[0] == [(None, None)]


def test_attempts_of_other_code_are_left_to_its_run(desk: Desk) -> None:
    desk.wanted = {0: "0" * 10}
    desk.say(JobStatus(JobState.FAILED, NODE))
    assert desk.results()[0] == [(None, None)]


def test_branch_that_another_run_settled_is_done_here_as_well(desk: Desk) -> None:
    desk.workflow.branch_task(0).run()
    other = Desk.__new__(Desk)
    other.collector = Collector(desk.workflow, desk.ledger, batch_settings(), desk.snapshot)
    desk.say(FINISHED)
    assert other.collector.collect(desk.wanted)
    assert other.collector.done == {0}
    assert not other.collector.collect(desk.wanted)


def test_failure_that_another_run_settled_is_told_from_its_report(desk: Desk) -> None:
    desk.site.fake.report(desk.job(), 0, CODE)
    desk.say(JobStatus(JobState.FAILED, exit_code=1))
    other = Collector(desk.workflow, desk.ledger, batch_settings(), desk.snapshot)
    found = other.failures([0, 1], desk.start)
    assert set(found) == {0}
    assert (found[0].failure.sentence, found[0].attempts, found[0].has_log) == ("branch 0 has a bad day", 1, True)
    assert other.failures([0], desk.site.clock.time() + 1) == {}  # of an earlier run


def test_cancel_after_a_failure_is_not_that_failure(site: Site) -> None:
    with site.ledger() as ledger:
        desk = Desk(site, site.workflow(1, retries=1), ledger)
        desk.say(JobStatus(JobState.FAILED, NODE, reason="killed"))
        assert desk.results() == {0: [(RETRY, NODE)]}
        assert desk.collector.failures([0], desk.start) == {}
        desk.submitter.submit([0], {}, desk.wanted)
        ledger.cancelled(list(ledger.active_jobs()))
        assert desk.results() == {0: [(RETRY, NODE), (CANCELLED, None)]}
        assert desk.sentence() == "its job was removed from the queue with --cancel"


def test_what_is_missing_now(desk: Desk) -> None:
    desk.workflow.branch_task(1).run()
    assert desk.collector.missing([0, 1]) == [0]
    assert desk.collector.done == {1}


def test_logs_are_kept_as_the_site_wants(site: Site) -> None:
    site.configure("batch", keep_logs=2)
    with site.ledger() as ledger:
        desk = Desk(site, site.workflow(1), ledger)
        for _ in range(4):
            site.clock.sleep(1.0)
            site.fake.report(desk.job(), 0, NODE)
        desk.collector.rotate_logs()
    assert len(list((Path(desk.workflow.folder) / "logs").iterdir())) == 4  # two logs, two reports
