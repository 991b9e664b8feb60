from __future__ import annotations

from pathlib import Path

import pytest

from analysis.engine.backends.base import FailureClass, SchedulerDownError
from analysis.engine.backends.control import cancel, cleanup
from analysis.engine.backends.controller import DetachedError, JobsError
from analysis.engine.backends.settings import jobs_folder
from analysis.engine.errors import ParameterError
from tests.engine.backends.fake import FOREVER, OK, Jobs, Site


class MoreJobs(Jobs):
    """Requires others."""

    exclude_index = True

    def workflow_requires(self) -> dict[str, Jobs]:
        return {"jobs": Jobs.req(self)}


def detached(site: Site, count: int = 3, **parameters: object) -> Jobs:
    workflow = site.workflow(count, no_poll=True, **parameters)
    with pytest.raises(DetachedError):
        site.run(workflow)
    return workflow


def said(capfd: pytest.CaptureFixture[str]) -> str:
    return capfd.readouterr().out


def test_jobs_are_removed(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.fake.script = {2: [FOREVER]}
    workflow = detached(site)
    assert cancel(workflow, "all") == 0
    assert sorted(site.fake.cancelled) == ["100.0", "100.1", "100.2"]
    assert "Jobs: 3 jobs removed from the queue" in said(capfd)
    cancel(workflow, "all")
    assert "There are no jobs in the queue." in said(capfd)


def test_next_run_after_a_cancel_starts_anew(site: Site) -> None:
    site.fake.script = {2: [FOREVER]}
    cancel(detached(site), "all")
    site.fake.script = {}
    workflow = site.workflow(3)
    site.run(workflow)
    assert site.fake.times() == dict.fromkeys(range(3), 2)
    assert site.done(workflow) == [0, 1, 2]


def test_jobs_of_what_is_required_are_removed_as_well(site: Site) -> None:
    detached(site)
    root = MoreJobs(workflow="htcondor")
    with pytest.raises(ParameterError, match="MoreJobs requires no Nonsense: it requires Jobs, MoreJobs"):
        cancel(root, "Nonsense")
    cancel(root, "MoreJobs")
    assert site.fake.cancelled == []
    cancel(root, "Jobs, MoreJobs")
    assert len(site.fake.cancelled) == 3


def test_jobs_of_other_workflows_stay(site: Site) -> None:
    detached(site, label="other")
    cancel(detached(site), "all")
    assert sorted(site.fake.cancelled) == ["101.0", "101.1", "101.2"]


def test_cancel_stops_a_run_that_has_not_submitted_all(site: Site) -> None:
    site.fake.script = {0: [FOREVER]}
    workflow = site.workflow(9, no_canary=True, parallel_jobs=1)
    site.later(30.0, lambda: cancel(workflow, "all"))
    with pytest.raises(JobsError):
        site.run(workflow)
    assert site.fake.times() == {0: 1}


def test_scheduler_that_is_down_changes_nothing(site: Site) -> None:
    workflow = detached(site)
    site.fake.down = {"cancel"}
    with pytest.raises(SchedulerDownError):
        cancel(workflow, "all")
    site.fake.down = set()
    site.run(site.workflow(3))
    assert site.fake.times() == dict.fromkeys(range(3), 1)


def test_cleanup_removes_what_is_over(site: Site, capfd: pytest.CaptureFixture[str]) -> None:
    site.fake.script = {0: [FailureClass.CODE, OK], 1: [FailureClass.CODE, OK]}
    workflow = site.workflow(3)
    with pytest.raises(JobsError):
        site.run(workflow)
    foreign = Path(workflow.folder) / "logs" / "mine.txt"
    foreign.write_text("a note")
    assert cleanup(workflow, "all") == 0
    assert "2 submissions that are over and 4 logs were removed." in said(capfd)
    assert list(jobs_folder().glob("Jobs-*")) == []
    assert [path.name for path in foreign.parent.iterdir()] == ["mine.txt"]
    site.run(site.workflow(3))


def test_cleanup_leaves_jobs_in_the_queue(site: Site) -> None:
    workflow = detached(site)
    cleanup(workflow, "all")
    assert len(list(jobs_folder().glob("Jobs-*"))) == 1
    site.run(site.workflow(3))
    assert site.fake.times() == dict.fromkeys(range(3), 1)
