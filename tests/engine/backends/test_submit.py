from __future__ import annotations

from pathlib import Path

import pytest

from analysis.engine.backends import submit
from analysis.engine.backends.base import SchedulerDownError, SubmissionError
from analysis.engine.backends.inflight import in_flight
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import JobPlan
from analysis.engine.backends.settings import BatchSettings, batch_settings, jobs_folder
from analysis.engine.backends.spec import JobSpec, parse_branches
from analysis.engine.backends.submit import Submitter, branches_per_job
from analysis.engine.errors import StoreError
from analysis.engine.snapshot import Snapshot
from tests.engine.backends.fake import Jobs, Site, refusal

SETTINGS = BatchSettings(job_length=300, fewest_jobs=20)


@pytest.mark.parametrize(
    ("branches", "seconds", "runtime", "expected"),
    [
        (1000, None, 0, 1),  # nothing is known
        (1000, 10.0, 0, 30),  # 300 s
        (1000, 1.0, 0, 50),  # 20 jobs are left
        (1000, 0.0, 0, 50),
        (1000, 200.0, 0, 1),
        (1000, 1e9, 0, 1),
        (1000, 10.0, 200, 10),  # half of the run time of a job
        (1000, 10.0, 7200, 30),
        (1000, 10.0, 1, 1),
        (10, 1.0, 0, 1),
        (21, 1.0, 0, 2),
        (0, 1.0, 0, 1),
    ],
)
def test_branches_per_job(branches: int, seconds: float | None, runtime: int, expected: int) -> None:
    assert branches_per_job(branches, seconds, runtime, SETTINGS) == expected


class Desk:
    """A submitter, and all that it is asked for."""

    def __init__(self, site: Site, workflow: Jobs, ledger: Ledger) -> None:
        self.site, self.workflow, self.ledger = site, workflow, ledger
        self.key, self.snapshot = str(workflow.folder), Snapshot()
        self.submitter = Submitter(workflow, ledger, batch_settings(), self.snapshot)

    def digests(self) -> dict[int, str]:
        numbers = self.workflow.branch_numbers()
        return {b: self.submitter.digest(self.workflow.branch_task(b)) for b in numbers}

    def submit(self, *branches: int) -> int:
        return self.submitter.submit(branches, self.ledger.attempts(self.key), self.digests())

    def recover(self) -> None:
        for pending in self.ledger.pending(self.key):
            self.submitter.recover(pending)

    def folders(self) -> list[Path]:
        return sorted(jobs_folder().glob("Jobs-*"))


def desk(site: Site, count: int = 4, **parameters: object) -> Desk:
    return Desk(site, site.workflow(count, **parameters), Ledger(jobs_folder() / "ledger.db"))


def test_jobs_get_what_they_need(site: Site) -> None:
    one = desk(site, memory="3GB", tasks_per_job=3)
    assert one.submit(0, 1, 2, 3) == 2
    submission = next(iter(site.fake.jobs.values())).submission
    assert [parse_branches(text) for text in submission.arguments] == [
        [(b, one.digests()[b]) for b in (0, 1, 2)],
        [(3, one.digests()[3])],
    ]
    assert submission.resources.memory == 3 * 10**9
    assert submission.script.stat().st_mode & 0o111
    spec = JobSpec.read(next(submission.folder.glob("spec-*.json")))
    assert (spec.family, spec.memory, spec.folder) == ("Jobs", 3 * 10**9, one.workflow.relative_folder)
    assert one.folders() == [submission.folder]


def test_branch_is_not_submitted_twice(site: Site) -> None:
    one = desk(site)
    assert one.submit(0, 1) == 2
    assert one.submit(0, 1) == 0
    assert one.submit(1, 2) == 1
    assert site.fake.times() == {0: 1, 1: 1, 2: 1}
    assert len(one.folders()) == 2


def test_answer_that_was_lost_leaves_a_pending_submission(site: Site) -> None:
    one = desk(site)
    site.fake.loses_answer = True
    assert one.submit(0, 1) == 0
    assert one.submit(0, 1) == 0
    assert site.fake.times() == {0: 1, 1: 1}
    one.recover()
    assert [job.id for job in one.ledger.active_jobs().values()] == ["100.0", "100.1"]
    assert one.ledger.pending(one.key) == []


def test_submission_that_is_not_found_is_given_up_after_a_while(site: Site) -> None:
    one = desk(site)
    site.fake.down = {"submit"}
    one.submit(0)
    one.recover()
    site.clock.sleep(4.0)
    one.recover()
    assert len(one.ledger.pending(one.key)) == 1
    site.clock.sleep(2.0)
    one.recover()
    assert one.ledger.pending(one.key) == []
    assert (one.ledger.active_jobs(), one.folders()) == ({}, [])


def test_submission_that_shows_late_is_found(site: Site) -> None:
    one = desk(site)
    site.fake.loses_answer, site.fake.lag = True, 3.0
    one.submit(0)
    one.recover()
    site.clock.sleep(10.0)
    one.recover()
    assert [job.id for job in one.ledger.active_jobs().values()] == ["100.0"]


def test_submission_that_is_under_way_is_left_alone(site: Site) -> None:
    one = desk(site)
    folder = jobs_folder() / "Jobs-f00"
    folder.mkdir()
    one.ledger.reserve("f00", "htcondor", one.key, folder, [JobPlan({0: "0" * 10}, {})])
    with in_flight(folder):
        site.clock.sleep(1000.0)
        one.recover()
        assert site.fake.calls == []
    one.recover()
    assert site.fake.calls == ["find"]
    with pytest.raises(SubmissionError, match="given up"), in_flight(folder):
        pass


def test_nothing_is_given_up_while_the_scheduler_is_down(site: Site) -> None:
    one = desk(site)
    site.fake.down = {"submit", "find"}
    one.submit(0)
    for _ in range(5):
        site.clock.sleep(100.0)
        with pytest.raises(SchedulerDownError):
            one.recover()
    assert len(one.ledger.pending(one.key)) == 1


def test_jobs_that_are_not_found_yet_get_the_ids_they_must_have(site: Site) -> None:
    one = desk(site, count=12)
    site.fake.loses_answer = True
    one.submit(*range(12))
    site.fake.jobs["100.3"].is_visible = False
    site.fake.jobs = dict(reversed(site.fake.jobs.items()))
    one.recover()
    assert [job.id for job in one.ledger.active_jobs().values()] == [f"100.{n}" for n in range(12)]


def test_refusal_leaves_nothing(site: Site) -> None:
    one = desk(site)
    site.fake.refusal = refusal("no")
    with pytest.raises(SubmissionError):
        one.submit(0, 1)
    assert (one.ledger.attempts(one.key), one.folders()) == ({}, [])


def test_second_submission_that_is_refused_leaves_the_first(site: Site) -> None:
    one = desk(site)
    site.fake.max_jobs = 2
    site.fake.at["submit"] = lambda: setattr(site.fake, "refusal", refusal("no") if site.fake.jobs else None)
    with pytest.raises(SubmissionError):
        one.submit(0, 1, 2, 3)
    assert set(one.ledger.attempts(one.key)) == set(site.fake.times()) == {0, 1}


def test_full_queue_halves_the_next_submission(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    one = desk(site, count=8)
    site.fake.room = 3
    assert [one.submit(*range(8)) for _ in range(4)] == [0, 0, 2, 1]
    assert site.fake.sizes() == [2, 1]
    assert capfd.readouterr().err.count("the queue is full: the other jobs follow when there is room") == 1
    site.fake.room = 100
    assert one.submit(*range(3, 8)) == 5
    assert site.fake.sizes() == [2, 1, 1, 1, 1, 1, 1]


def test_jobs_that_have_ended_take_no_place(site: Site) -> None:
    one = desk(site, parallel_jobs=2)
    assert one.submit(0, 1, 2, 3) == 2
    assert one.submit(2, 3) == 0
    site.clock.sleep(10.0)
    site.clock.sleep(10.0)
    one.ledger.answered("htcondor", site.fake.query(["100.0"], 0.0), 1.0)
    assert one.submit(2, 3) == 1


def test_disk_that_is_full_is_no_lost_job(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    one = desk(site)

    def fail(*_: object) -> None:
        msg = "full"
        raise StoreError(msg)

    with monkeypatch.context() as patch:
        patch.setattr(submit, "make_spec", fail)
        with pytest.raises(StoreError):
            one.submit(0)
    for _ in range(2):
        one.recover()
        site.clock.sleep(6.0)
    assert one.submit(0) == 1


def test_length_of_jobs_follows_from_branches_that_ran(site: Site) -> None:
    site.configure("batch", fewest_jobs=2)
    one = desk(site, count=9)
    one.workflow.branch_task(0).run()
    assert one.submit(*range(1, 9)) == 2
    assert [len(job.branches) for job in site.fake.jobs.values()] == [4, 4]


def test_title_is_no_path(site: Site) -> None:
    one = desk(site, version="a,b+c")
    one.submit(0)
    assert all(folder.parent == jobs_folder() and "/" not in folder.name for folder in one.folders())
