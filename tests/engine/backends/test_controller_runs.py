from __future__ import annotations

import threading
from pathlib import Path

import pytest

from analysis.engine.backends import ledger as ledger_module
from analysis.engine.backends import records as records_module
from analysis.engine.backends.base import FailureClass, SchedulerDownError
from analysis.engine.backends.controller import Controller, DetachedError, JobsError
from analysis.engine.backends.records import CANCELLED, DONE, FAILED, RETRY
from analysis.engine.process import Process
from tests.engine.backends.fake import (
    FOREVER,
    OK,
    SETTING,
    SILENT,
    Jobs,
    KilledError,
    Site,
    stop,
)
from tests.engine.backends.turns import Turns, hooked

CODE, MEMORY, NODE, STORAGE = FailureClass.CODE, FailureClass.MEMORY, FailureClass.NODE, FailureClass.STORAGE


def elapsed(site: Site) -> float:
    return site.clock.now - site.clock.start


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
    site.fake.script = {branch: [FOREVER] for branch in range(5)}
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
    workflow = site.workflow(3)
    site.run(workflow)
    assert site.fake.cancelled == ["100.3"]
    assert site.fake.times() == dict.fromkeys(range(4), 1)


FAULTS = {0: [NODE, OK], 1: [MEMORY, OK], 2: [OK]}
POINTS = 110


def kill_at(site: Site, point: int, fail: bool) -> bool:
    """Kill a run at one of the calls that change something; whether it came so far."""
    calls = 0

    def hook() -> None:
        nonlocal calls
        calls += 1
        if calls == point:
            raise KilledError

    site.configure("batch", retry_delay=3)
    site.fake.seconds = 1.5
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


@pytest.mark.parametrize("first", range(1, POINTS, 5))
@pytest.mark.parametrize("fail", [False, True])
def test_run_that_is_killed_anywhere_loses_and_doubles_nothing(site: Site, first: int, fail: bool) -> None:
    for point in range(first, first + 5):
        site.fake.forget()
        killed = kill_at(site, point, fail)
        workflow = site.workflow(3)
        site.run(workflow)
        assert site.fake.times() == ({0: 2, 1: 2, 2: 1} if fail else {0: 1, 1: 1, 2: 1}), point
        assert site.done(workflow) == [0, 1, 2]
        assert site.fake.queue() == []
        for output in Path(workflow.store.root).rglob("*.txt"):
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
        for module in (ledger_module, records_module):
            patch.setattr(module, "identity", lambda: Process("here", threading.get_ident(), None, "boot", "space"))
        patch.setattr(records_module, "is_running", lambda pid, _start: turns.is_alive(pid))
        site.clock.hooks.append(turns.switch)
        turns.run(*(lambda w=w: site.run(w) for w in workflows))
        site.clock.hooks.remove(turns.switch)
    return turns.errors


@pytest.mark.parametrize("first", range(0, 20, 4))
def test_two_runs_share_their_jobs(site: Site, first: int) -> None:
    for seed in range(first, first + 4):
        site.fake.forget()
        workflow = site.workflow(4)
        site.fake.script = {1: [NODE, OK], 2: [MEMORY, OK]}
        assert side_by_side(site, seed, workflow, workflow) == []
        assert site.fake.times() == {0: 1, 1: 2, 2: 2, 3: 1}, seed
        assert site.fake.cancelled == []
        assert site.done(workflow) == [0, 1, 2, 3]
        for output in Path(workflow.store.root).rglob("*.txt"):
            output.unlink()


def test_both_runs_tell_what_failed(site: Site) -> None:
    for seed in range(5):
        site.fake.forget()
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
        site.run(site.workflow(4, branches=((0, 2),), retries=0))
    site.run(site.workflow(4, branches=((2, 4),)))
    assert site.results(site.workflow(4)) == {0: [FAILED], 1: [DONE]}


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


def test_run_of_other_code_takes_over(site: Site) -> None:
    site.fake.script = {branch: [FOREVER] for branch in range(4)}
    workflow = site.workflow(4, no_canary=True, parallel_jobs=2)

    def edit_and_run() -> None:
        SETTING["value"] = 2
        site.fake.script = {}
        with pytest.raises(DetachedError):
            site.run(site.workflow(4, no_poll=True))

    site.later(30.0, edit_and_run)
    with pytest.raises(JobsError):
        site.run(workflow)
    assert sorted(site.fake.cancelled) == ["100.0", "100.1"]
    assert site.fake.times() == {0: 2, 1: 2, 2: 1, 3: 1}
    site.clock.sleep(10.0)
    site.clock.sleep(10.0)
    again = site.workflow(4)
    site.run(again)
    assert site.fake.times() == {0: 2, 1: 2, 2: 1, 3: 1}
