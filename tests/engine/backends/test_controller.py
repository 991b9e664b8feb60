from __future__ import annotations

import os
import re
import threading

import pytest

from analysis.engine.backends import joblogs
from analysis.engine.backends import ledger as ledger_module
from analysis.engine.backends.base import FailureClass, JobState, JobStatus, SchedulerDownError
from analysis.engine.backends.controller import Controller, DetachedError, JobsError
from analysis.engine.backends.ledger import CANCELLED, DONE, FAILED, RETRY, JobPlan
from analysis.engine.backends.settings import jobs_folder
from analysis.engine.process import Process
from tests.engine.backends.fake import (
    FOREVER,
    OK,
    SETTING,
    SILENT,
    VANISH,
    Jobs,
    KilledError,
    Site,
    Turns,
    hooked,
    refusal,
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
    site.fake.script = dict.fromkeys(range(5), [CODE])
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
    assert site.fake.times() == {branch: 1 for branch in range(6)}


# once each


def test_empty_workflow_does_nothing(site: Site) -> None:
    workflow = site.workflow(2)
    for branch in workflow.branch_tasks():
        branch.run()
    site.run(workflow)
    assert site.fake.calls == []


def test_detached_jobs_are_found_again(site: Site) -> None:
    with pytest.raises(DetachedError, match=r"^5 jobs run on, unwatched because of --no-poll"):
        site.run(site.workflow(5, no_poll=True))
    with pytest.raises(DetachedError):
        site.run(site.workflow(5, no_poll=True))
    assert elapsed(site) < 1
    workflow = site.workflow(5)
    site.run(workflow)
    assert site.fake.times() == dict.fromkeys(range(5), 1)
    assert site.fake.cancelled == []
    assert site.done(workflow) == [0, 1, 2, 3, 4]


def test_detached_run_waits_until_the_scheduler_has_its_jobs(site: Site) -> None:
    site.fake.loses_answer = True
    site.fake.down = {"find"}
    site.later(100.0, site.fake.down.clear)
    with pytest.raises(DetachedError, match=r"^5 jobs run on"):
        site.run(site.workflow(5, no_poll=True))
    assert elapsed(site) > 100


def test_jobs_that_ended_meanwhile_are_not_submitted_again(site: Site) -> None:
    with pytest.raises(DetachedError):
        site.run(site.workflow(5, no_poll=True))
    site.fake.script = {2: [SILENT, OK], 4: [CODE]}
    site.clock.sleep(10.0)
    site.clock.sleep(80000.0)
    with pytest.raises(JobsError, match=r"^1 of 2 branches failed \(4\)"):
        site.run(site.workflow(5))
    assert site.fake.times() == {0: 1, 1: 1, 2: 2, 3: 1, 4: 1}
    assert site.fake.cancelled == []


def test_job_with_a_complete_branch_goes_on(site: Site) -> None:
    with pytest.raises(DetachedError):
        site.run(site.workflow(4, no_poll=True, tasks_per_job=2))
    workflow = site.workflow(4, tasks_per_job=2)
    workflow.branch_task(0).run()  # by the job, which goes on with the other one
    site.run(workflow)
    assert site.fake.cancelled == []
    assert site.fake.times() == dict.fromkeys(range(4), 1)


def test_job_whose_branches_were_made_here_is_removed(site: Site) -> None:
    with pytest.raises(DetachedError):
        site.run(site.workflow(4, no_poll=True, tasks_per_job=2))
    workflow = site.workflow(4)
    for branch in (0, 1):
        workflow.branch_task(branch).run()
    site.run(workflow)
    assert site.fake.cancelled == ["100.0"]
    assert site.fake.times() == dict.fromkeys(range(4), 1)


def test_jobs_of_other_settings_are_replaced(site: Site) -> None:
    with pytest.raises(DetachedError):
        site.run(site.workflow(3, no_poll=True))
    SETTING["value"] = 2
    workflow = site.workflow(3)
    site.run(workflow)
    assert sorted(site.fake.cancelled) == ["100.0", "100.1", "100.2"]
    assert site.fake.times() == dict.fromkeys(range(3), 2)
    assert site.done(workflow) == [0, 1, 2]


def test_jobs_of_other_settings_whose_answer_was_lost_are_replaced(site: Site) -> None:
    site.fake.loses_answer = True
    site.fake.at["find"] = stop
    with pytest.raises(KilledError):
        site.run(site.workflow(3, no_canary=True))
    site.fake.loses_answer = False
    del site.fake.at["find"]
    SETTING["value"] = 2
    workflow = site.workflow(3)
    site.run(workflow)
    assert sorted(site.fake.cancelled) == ["100.0", "100.1", "100.2"]
    assert site.done(workflow) == [0, 1, 2]
    assert site.fake.queue() == []


def test_jobs_of_branches_that_do_not_exist_any_more_are_removed(site: Site) -> None:
    site.fake.script = {3: [FOREVER]}
    with pytest.raises(DetachedError):
        site.run(site.workflow(4, no_poll=True))
    workflow = site.workflow(4)
    folder = workflow.folder
    with site.ledger() as ledger:
        job = next(iter(ledger.active_jobs(str(folder)).values()))
        ledger.reserve("f00", "htcondor", str(folder), job.folder, [JobPlan({17: "0" * 10}, {})])
        ledger.submitted("f00", {0: "100.3"})
    site.fake.script = {}
    site.run(workflow)
    assert site.fake.cancelled == ["100.3"]


def stop() -> None:
    raise KilledError


FAULTS = {0: [NODE, OK], 1: [MEMORY, OK], 2: [OK]}
POINTS = 70


def kill_at(site: Site, point: int, fail: bool) -> bool:
    """Kill a run at one of the calls that change something; whether it came so far."""
    calls = 0

    def hook() -> None:
        nonlocal calls
        calls += 1
        if calls == point:
            raise KilledError

    workflow = site.workflow(3)
    if fail:
        site.fake.script = {branch: list(outcomes) for branch, outcomes in FAULTS.items()}
    with pytest.MonkeyPatch.context() as patch:
        hooked(patch, site.fake, hook)
        try:
            site.run(workflow)
        except KilledError:
            return True
    return False


@pytest.mark.parametrize("first", range(1, POINTS, 10))
@pytest.mark.parametrize("fail", [False, True])
def test_run_that_is_killed_anywhere_loses_and_doubles_nothing(site: Site, first: int, fail: bool) -> None:
    for point in range(first, first + 10):
        site.fake.jobs.clear()
        site.fake.cancelled.clear()
        killed = kill_at(site, point, fail)
        workflow = site.workflow(3)
        site.run(workflow)
        assert site.fake.times() == ({0: 2, 1: 2, 2: 1} if fail else {0: 1, 1: 1, 2: 1}), point
        assert site.done(workflow) == [0, 1, 2]
        assert site.fake.queue() == []
        for output in workflow.store.rglob("*.txt"):
            output.unlink()
        if not killed:
            return


def test_all_calls_are_among_the_points(site: Site) -> None:
    assert not kill_at(site, POINTS, fail=True)


@pytest.mark.parametrize("point", range(1, 40, 3))
def test_run_that_is_killed_again_and_again_keeps_count_of_retries(site: Site, point: int) -> None:
    site.fake.script = {0: [STORAGE]}
    calls = 0

    def hook() -> None:
        nonlocal calls
        calls += 1
        if calls == point:
            raise KilledError

    failed = 0
    with pytest.MonkeyPatch.context() as patch:
        hooked(patch, site.fake, hook)
        while not failed:
            calls = 0
            try:
                site.run(site.workflow(1, retries=2))
            except KilledError:
                point += 1  # else it would never come further
            except JobsError:
                failed += 1
    assert site.fake.times() == {0: 3}


# two runs


def side_by_side(site: Site, seed: int, *workflows: Jobs) -> list[BaseException]:
    turns = Turns(seed)
    with pytest.MonkeyPatch.context() as patch:
        hooked(patch, site.fake, turns.switch)
        # each thread is a process of its own
        patch.setattr(ledger_module, "identity", lambda: Process("here", threading.get_ident(), None, "boot", "space"))
        patch.setattr(ledger_module, "is_running", lambda pid, _start: turns.is_alive(pid))
        site.clock.hooks.append(turns.switch)
        turns.run(*(lambda w=w: site.run(w) for w in workflows))  # type: ignore[misc]
        site.clock.hooks.remove(turns.switch)
    return turns.errors


@pytest.mark.parametrize("first", range(0, 20, 4))
def test_two_runs_share_their_jobs(site: Site, first: int) -> None:
    for seed in range(first, first + 4):
        site.fake.jobs.clear()
        workflow = site.workflow(4)
        site.fake.script = {1: [NODE, OK], 2: [MEMORY, OK]}
        assert side_by_side(site, seed, workflow, workflow) == []
        assert site.fake.times() == {0: 1, 1: 2, 2: 2, 3: 1}, seed
        assert site.fake.cancelled == []
        assert site.done(workflow) == [0, 1, 2, 3]
        for output in workflow.store.rglob("*.txt"):
            output.unlink()


def test_both_runs_tell_what_failed(site: Site) -> None:
    for seed in range(5):
        site.fake.jobs.clear()
        workflow = site.workflow(3, label=str(seed), no_canary=True)
        site.fake.script = {1: [CODE]}
        errors = side_by_side(site, seed, workflow, workflow)
        assert [type(error) for error in errors] == [JobsError, JobsError]
        assert site.fake.times() == {0: 1, 1: 1, 2: 1}


def test_run_that_starts_while_another_one_has_not_noticed_the_end_of_jobs(site: Site) -> None:
    workflow = site.workflow(4, no_canary=True)
    site.fake.script = {3: [FOREVER]}
    second: list[Controller] = []

    def start() -> None:
        second.append(Controller(workflow))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Controller, "_loop", lambda _self: stop())
            with pytest.raises(KilledError):
                second[0].run()
        site.fake.script = {}

    done_before: list[int] = []

    def hook() -> None:
        if not second and len(site.done(workflow)) == 3:
            done_before.append(1)
            start()

    site.clock.hooks.append(hook)
    site.run(workflow)
    second[0].ledger.close()
    assert done_before
    assert site.fake.times() == dict.fromkeys(range(4), 1)


def test_end_of_one_run_does_not_hide_results_from_another_one(site: Site) -> None:
    workflow = site.workflow(3, no_canary=True)
    waits = Controller(workflow)
    waits._started = site.clock.now
    waits._wanted = {b: waits._submitter.digest(workflow.branch_task(b)) for b in range(3)}
    site.run(workflow)  # and cleans the ledger
    waits._loop()
    waits.ledger.close()
    assert site.fake.times() == dict.fromkeys(range(3), 1)


def test_end_of_one_run_leaves_failures_of_other_branches(site: Site) -> None:
    site.fake.script = {0: [STORAGE]}
    with pytest.raises(JobsError):
        site.run(site.workflow(4, branches=((0, 1),), retries=0))
    site.run(site.workflow(4, branches=((2, 3),)))
    assert site.results(site.workflow(4)) == {0: [FAILED], 1: [DONE]}


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
    site.fake.jobs.clear()
    site.fake.script = {3: [MEMORY, OK], 4: [MEMORY, OK]}
    site.run(workflow)
    assert [sorted(job.branches) for job in site.fake.jobs.values()] == [[1, 2, 3, 4, 5, 6, 7, 8], [3], [4]]


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
        patch.setattr("analysis.engine.backends.ledger.Ledger.settle", lambda *_: stop())
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
    (workflow.folder / "out_0.txt").unlink()
    workflow = site.workflow(3)
    site.run(workflow)
    assert site.fake.times() == {0: 2, 1: 1, 2: 2}


def test_branch_that_was_made_elsewhere_has_not_failed(site: Site) -> None:
    site.fake.script = {0: [CODE], 1: [FOREVER]}
    workflow = site.workflow(2, no_canary=True)
    site.later(60.0, workflow.branch_task(0).run)
    site.later(90.0, lambda: site.fake.script.clear())
    site.run(workflow)
    assert site.done(workflow) == [0, 1]


# other terminals, other answers


def test_jobs_that_another_terminal_removes_are_not_tried_again(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.fake.script = {0: [NODE, FOREVER], 1: [FOREVER]}
    workflow = site.workflow(2, no_canary=True)

    def cancel() -> None:
        other = Controller(workflow)
        assert other.cancel_all() == 2
        other.ledger.close()

    site.later(120.0, cancel)
    with pytest.raises(JobsError, match=r"^2 of 2 branches failed"):
        site.run(workflow)
    assert site.results(workflow) == {0: [RETRY, CANCELLED], 1: [CANCELLED]}
    output = capfd.readouterr().err
    assert "2 branches failed for 1 reason" in output
    assert "removed: its job was removed from the queue with --cancel" in output


def test_jobs_whose_answer_was_lost_are_removed_as_well(site: Site) -> None:
    site.fake.loses_answer = True
    site.fake.lag = 3.0
    site.fake.script = {0: [FOREVER]}
    site.fake.at["find"] = stop
    with pytest.raises(KilledError):
        site.run(site.workflow(1))
    del site.fake.at["find"]
    other = Controller(site.workflow(1))
    assert other.cancel_all() == 1
    other.ledger.close()
    assert site.fake.cancelled == ["100.0"]


def test_submission_that_never_came_in_does_not_keep_from_removing(site: Site) -> None:
    site.fake.at["submit"] = stop
    with pytest.raises(KilledError):
        site.run(site.workflow(1))
    other = Controller(site.workflow(1))
    assert other.cancel_all() == 0
    assert other.ledger.pending(other.key) == []
    other.ledger.close()


def test_jobs_stay_known_if_the_scheduler_is_down_when_they_are_to_be_removed(site: Site) -> None:
    with pytest.raises(DetachedError):
        site.run(site.workflow(2, no_poll=True))
    site.fake.down = {"cancel"}
    other = Controller(site.workflow(2))
    with pytest.raises(SchedulerDownError):
        other.cancel_all()
    assert len(other.ledger.active_jobs(other.key)) == 2
    other.ledger.close()


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


def test_refused_submission_leaves_nothing(site: Site) -> None:
    site.fake.refusal = refusal("no such partition")
    workflow = site.workflow(2)
    with pytest.raises(type(site.fake.refusal), match="no such partition"):
        site.run(workflow)
    assert site.results(workflow) == {}
    assert list(jobs_folder().glob("Jobs-*")) == []


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


# what people see and say


def test_jobs_on_hold_and_unknown_jobs_are_shown(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    held = JobStatus(JobState.HELD, in_queue=True, reason="held by alice")
    site.fake.script = {0: [held], 1: [VANISH]}
    told: list[str] = []
    workflow = site.workflow(2, no_canary=True)
    workflow.publish_jobs = lambda text, *_: told.append(text)
    site.later(120.0, lambda: [setattr(job, "status", STUCK) for job in site.fake.jobs_of(0)[:1]] and None)
    site.later(120.0, lambda: site.fake.script.update({0: [OK], 1: [OK]}))
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
    assert "1 jobs run on: the same command watches them again" in capfd.readouterr().err
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
    assert len(joblogs.attempts(workflow.files, workflow.folder)[0]) == joblogs.KEPT


def test_causes_are_told_with_a_command(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.fake.script = {0: [CODE], 1: [CODE], 2: [FailureClass.CREDENTIAL]}
    with pytest.raises(JobsError):
        site.run(site.workflow(4, label="it's", no_canary=True))
    output = capfd.readouterr().err
    assert "3 branches failed for 2 reasons" in output
    assert re.search(r"run here: law run Jobs --count 4 --label 'it'\"'\"'s' --branch 0 --workflow local", output)


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
