from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from analysis.engine.backends import joblogs
from analysis.engine.backends.base import FailureClass, JobState, JobStatus
from analysis.engine.backends.controller import DetachedError, JobsError
from analysis.engine.backends.ledger import Ledger
from analysis.engine.backends.records import FAILED, RETRY, JobPlan
from analysis.engine.backends.settings import jobs_folder
from tests.engine.backends.fake import (
    FOREVER,
    OK,
    SILENT,
    VANISH,
    KilledError,
    Site,
    stop,
)

CODE, MEMORY, NODE, STORAGE = FailureClass.CODE, FailureClass.MEMORY, FailureClass.NODE, FailureClass.STORAGE
GB = 10**9
STUCK = JobStatus(JobState.FAILED, MEMORY, in_queue=True, reason="memory usage exceeded request_memory")


def elapsed(site: Site) -> float:
    return site.clock.now - site.clock.start


# canaries


def test_one_job_goes_first_and_all_others_follow_at_once(site: Site) -> None:
    workflow = site.workflow(5)
    site.run(workflow)
    assert site.fake.sizes() == [1, 4]
    assert site.done(workflow) == [0, 1, 2, 3, 4]


def test_code_whose_outputs_are_there_needs_no_canary(site: Site) -> None:
    workflow = site.workflow(5)
    workflow.branch_task(3).run()
    site.run(workflow)
    assert site.fake.sizes() == [4]
    assert site.fake.times() == {0: 1, 1: 1, 2: 1, 4: 1}


def test_canary_is_not_wanted(site: Site) -> None:
    site.run(site.workflow(5, no_canary=True))
    assert site.fake.sizes() == [5]


def test_two_failed_canaries_stop_the_rest(site: Site) -> None:
    workflow = site.workflow(5)
    site.fake.script = {branch: [CODE] for branch in range(5)}
    with pytest.raises(JobsError, match=r"2 of 5 branches failed \(0, 1\) .*; 3 were not submitted"):
        site.run(workflow)
    assert site.fake.times() == {0: 1, 1: 1}


def test_second_canary_proves_the_code(site: Site) -> None:
    site.fake.script = {0: [CODE]}
    with pytest.raises(JobsError, match=r"^1 of 5 branches failed \(0\) after \d+ s$"):
        site.run(site.workflow(5))
    assert site.fake.sizes() == [1, 1, 3]


def test_others_wait_until_a_canary_was_tried_again(site: Site) -> None:
    site.fake.script = {0: [NODE, OK]}
    site.run(site.workflow(5))
    assert site.fake.sizes() == [1, 1, 4]
    first, second = site.fake.jobs_of(0)
    assert second.born - first.born > 30


def test_canary_that_runs_for_long_is_good(site: Site) -> None:
    site.fake.seconds = 2000.0
    site.run(site.workflow(5))
    assert site.fake.sizes() == [1, 4]
    last = site.fake.jobs_of(4)[0]
    assert 600 < last.born - site.clock.start < 660


def test_nothing_waits_for_branches_that_are_tried_again_after_the_canaries_failed(site: Site) -> None:
    # the first run, which knew that the code runs, is gone
    workflow = site.workflow(5, no_poll=True)
    site.fake.script = {0: [CODE], 1: [CODE], 2: [STORAGE], 3: [STORAGE], 4: [STORAGE]}
    with pytest.raises(DetachedError):
        site.run(workflow)
    with pytest.raises(JobsError, match=r"^2 of 5 branches failed"):
        site.run(site.workflow(5))


def test_canary_waits_for_no_branches_of_somebody_else(site: Site) -> None:
    with pytest.raises(DetachedError):
        site.run(site.workflow(6, branches=((0, 2),), no_poll=True))
    site.clock.sleep(100.0)
    workflow = site.workflow(6, branches=((3, 5),), parallel_jobs=2)
    site.run(workflow)
    assert site.fake.times() == {0: 1, 1: 1, 3: 1, 4: 1}


# failures


def test_failure_that_may_pass_is_tried_again_so_often(site: Site) -> None:
    site.fake.script = {0: [STORAGE]}
    with pytest.raises(JobsError):
        site.run(site.workflow(1, retries=2))
    assert site.fake.times() == {0: 3}
    first, second, third = (job.born for job in site.fake.jobs_of(0))
    assert 30 < second - first < 60
    assert 60 < third - second < 120


def test_next_run_starts_anew_after_a_final_failure(site: Site) -> None:
    site.fake.script = {0: [STORAGE]}
    for runs in (1, 2):
        workflow = site.workflow(1, retries=1)
        with pytest.raises(JobsError):
            site.run(workflow)
        assert site.results(workflow) == {0: [RETRY, FAILED] * runs}
    starts = [job.born for job in site.fake.jobs_of(0)]
    assert starts[2] - starts[1] < 30


def test_memory_grows_up_to_the_cap(site: Site) -> None:
    site.fake.script = {0: [MEMORY]}
    with pytest.raises(JobsError):
        site.run(site.workflow(1, retries=0))
    assert [job.submission.resources.memory for job in site.fake.jobs_of(0)] == [2 * GB, 4 * GB, 8 * GB, 16 * GB]
    assert elapsed(site) < 60


def test_time_grows_and_memory_stays_grown(site: Site) -> None:
    site.fake.script = {0: [MEMORY, FailureClass.WALLTIME, OK]}
    site.run(site.workflow(1))
    asked = [(job.submission.resources.memory, job.submission.resources.runtime) for job in site.fake.jobs_of(0)]
    assert asked == [(2 * GB, 7200), (4 * GB, 7200), (4 * GB, 14400)]


def test_branches_with_grown_memory_are_alone_in_their_jobs(site: Site) -> None:
    site.configure("batch", fewest_jobs=1)
    site.run(site.workflow(2, label="before"))
    workflow = site.workflow(9, no_canary=True)
    workflow.branch_task(0).run()
    site.fake.forget()
    site.fake.script = {3: [MEMORY, OK], 4: [MEMORY, OK]}
    site.run(workflow)
    assert [sorted(job.branches) for job in site.fake.counted()] == [[1, 2, 3, 4, 5, 6, 7, 8], [3], [4]]


def test_job_in_the_queue_is_removed_before_its_branch_is_tried_again(site: Site) -> None:
    site.fake.script = {0: [STUCK, OK]}
    site.run(site.workflow(1))
    assert site.fake.cancelled == ["100.0"]
    assert site.fake.calls.index("cancel") < len(site.fake.calls) - 1 - site.fake.calls[::-1].index("submit")
    assert site.fake.jobs_of(0)[1].submission.resources.memory == 4 * GB


def test_scheduler_that_is_down_when_a_job_is_to_be_removed(site: Site) -> None:
    site.fake.script = {0: [STUCK, OK], 1: [OK]}
    site.fake.down = {"cancel"}
    site.later(300.0, site.fake.down.clear)
    workflow = site.workflow(2, no_canary=True)
    site.run(workflow)
    assert site.fake.times() == {0: 2, 1: 1}
    assert site.fake.jobs_of(0)[1].born - site.clock.start > 300
    assert site.fake.queue() == []


def test_run_that_is_killed_after_it_removed_a_failed_job_knows_why(site: Site) -> None:
    site.fake.script = {0: [STUCK, OK]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "settle", lambda _self, _key, results: stop() if list(results) else set())
        with pytest.raises(KilledError):
            site.run(site.workflow(1))
    assert site.fake.cancelled == ["100.0"]
    site.run(site.workflow(1))
    assert site.fake.times() == {0: 2}
    assert site.fake.jobs_of(0)[1].submission.resources.memory == 4 * GB


def test_job_that_nobody_knows_any_more_is_lost_after_a_while(site: Site) -> None:
    site.fake.script = {0: [VANISH, OK]}
    site.run(site.workflow(1))
    first, second = site.fake.jobs_of(0)
    assert 900 < second.born - first.born < 1000
    assert site.fake.cancelled == [first.id]


def test_job_that_is_in_no_answer_at_first_is_waited_for(site: Site) -> None:
    site.fake.lag = 500.0
    site.run(site.workflow(2, no_canary=True))
    assert site.fake.times() == {0: 1, 1: 1}


def test_nothing_is_concluded_while_the_scheduler_is_down(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.later(3.0, lambda: site.fake.down.add("query"))
    site.later(7200.0, site.fake.down.clear)
    site.run(site.workflow(3, no_canary=True))
    assert site.fake.times() == dict.fromkeys(range(3), 1)
    output = capfd.readouterr().err
    assert output.count("the scheduler does not answer; nothing is concluded from that, jobs run on") == 1
    assert output.count("htcondor answers again") == 1


def test_lost_jobs_are_not_counted_from_before_the_scheduler_was_down(site: Site) -> None:
    site.fake.script = {0: [VANISH, OK]}
    site.later(600.0, lambda: site.fake.down.add("query"))
    site.later(2000.0, site.fake.down.clear)
    site.run(site.workflow(1))
    assert site.fake.jobs_of(0)[1].born - site.clock.start > 2900


def test_output_may_come_after_the_end_of_its_job(site: Site) -> None:
    site.fake.script = {0: [SILENT]}
    workflow = site.workflow(1)
    site.later(50.0, workflow.branch_task(0).run)
    site.run(workflow)
    assert site.fake.times() == {0: 1}


def test_job_without_output_or_report_is_a_failure_of_storage(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.fake.script = {0: [SILENT]}
    with pytest.raises(JobsError):
        site.run(site.workflow(1, retries=0))
    assert 60 < elapsed(site) < 100
    assert "storage: the job ended without outputs or a report in the store" in capfd.readouterr().err


def test_ended_job_that_stays_in_the_queue_is_not_waited_for(site: Site) -> None:
    site.fake.script = {0: [JobStatus(JobState.FINISHED, in_queue=True, exit_code=0), OK]}
    site.run(site.workflow(1))
    assert site.fake.cancelled == ["100.0"]
    assert elapsed(site) < 200


def test_output_that_was_deleted_is_made_again(site: Site) -> None:
    site.fake.script = {2: [CODE, OK]}
    workflow = site.workflow(3)
    with pytest.raises(JobsError):
        site.run(workflow)
    (Path(workflow.folder) / "out_0.txt").unlink()
    workflow = site.workflow(3)
    site.run(workflow)
    assert site.fake.times() == {0: 2, 1: 1, 2: 2}


def test_branch_that_was_made_elsewhere_has_not_failed(site: Site) -> None:
    site.fake.script = {0: [CODE], 1: [FOREVER]}
    workflow = site.workflow(2, no_canary=True)
    site.later(60.0, workflow.branch_task(0).run)
    site.later(90.0, lambda: setattr(site.fake, "script", {}))
    site.run(workflow)
    assert site.done(workflow) == [0, 1]


# what people see and say


def test_jobs_on_hold_and_unknown_jobs_are_shown(
    site: Site, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = JobStatus(JobState.HELD, in_queue=True, reason="held by alice")
    site.fake.script = {0: [held], 1: [VANISH]}
    told: list[str] = []
    workflow = site.workflow(2, no_canary=True)
    monkeypatch.setattr(workflow, "publish_jobs", lambda text, *_: told.append(text))

    def go_on() -> None:
        site.fake.jobs_of(0)[0].status = STUCK
        site.fake.script = {}

    site.later(120.0, go_on)
    site.run(workflow)
    output = capfd.readouterr().err
    assert "held: 1 (+1)" in output
    assert "unknown: 1 (+1)" in output
    assert "1 x held by alice" in "\n".join(told)
    assert site.done(workflow) == [0, 1]


def test_line_is_printed_when_something_changes(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.fake.seconds = 1000.0
    site.run(site.workflow(1))
    lines = [line for line in capfd.readouterr().err.splitlines() if ": all: " in line]
    assert 4 <= len(lines) <= 8


def test_run_whose_main_process_is_gone_ends(
    site: Site, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.fake.script = {0: [FOREVER]}
    site.later(20.0, lambda: monkeypatch.setattr(os, "getppid", lambda: 1))
    with pytest.raises(KeyboardInterrupt):
        site.run(site.workflow(1))
    assert "1 job runs on: the same command watches them again" in capfd.readouterr().err
    assert site.fake.cancelled == []


def test_scheduler_is_asked_less_often_if_nothing_happens(site: Site) -> None:
    site.fake.seconds = 3600.0
    site.run(site.workflow(1, poll_interval=60.0))
    assert 60 < site.fake.calls.count("query") < 110


@pytest.mark.parametrize("interval", [0.0, 0.01, -5.0])
def test_short_interval_is_no_busy_loop(site: Site, interval: float) -> None:
    site.run(site.workflow(1, poll_interval=interval))
    assert site.fake.calls.count("query") <= 7


def test_old_logs_are_removed_in_the_end(site: Site) -> None:
    site.fake.script = {0: [NODE] * 8 + [OK]}
    workflow = site.workflow(1, retries=9)
    site.run(workflow)
    assert len(joblogs.attempts(workflow.store, Path(workflow.folder))[0]) == joblogs.KEPT


def test_causes_are_told_with_a_command(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.fake.script = {0: [CODE], 1: [CODE], 2: [FailureClass.CREDENTIAL]}
    with pytest.raises(JobsError):
        site.run(site.workflow(4, label="it's", no_canary=True))
    output = capfd.readouterr().err
    assert "3 branches failed for 2 reasons" in output
    assert re.search(r"run here: law run Jobs --label 'it'\"'\"'s' --branch 0 --workflow local", output)


def test_nothing_is_left_after_success(site: Site) -> None:
    site.fake.script = {1: [NODE, OK]}
    workflow = site.workflow(3)
    site.run(workflow)
    assert site.results(workflow) == {}
    assert list(jobs_folder().glob("Jobs-*")) == []


def test_foreign_folders_are_not_removed(site: Site, tmp_path: os.PathLike[str]) -> None:
    folder = tmp_path / "precious"  # type: ignore[operator]
    folder.mkdir()
    workflow = site.workflow(1)
    with site.ledger() as ledger:
        ledger.reserve("f00", "htcondor", str(workflow.folder), folder, [JobPlan({17: "0" * 10}, {})])
        ledger.cancelled(list(ledger.active_jobs()))
    site.run(workflow)
    assert folder.is_dir()
