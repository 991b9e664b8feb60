"""A store that does not answer while jobs run: nothing is known, so nothing has failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import pytest

from analysis.engine.backends.base import FailureClass
from analysis.engine.backends.controller import JobsError
from analysis.engine.storage.base import OutageError, TrustError
from analysis.engine.storage.local import LocalStore
from tests.engine.backends.fake import FOREVER, FakeJob, Site


def away(site: Site, monkeypatch: pytest.MonkeyPatch, seconds: float, error: type[OutageError] = OutageError) -> None:
    """Have the store be away from the end of the first submission on, for all but the jobs."""
    begin: list[float] = []
    in_job: list[object] = []
    end_job = site.fake._end

    def end(job: FakeJob) -> None:
        in_job.append(job)
        end_job(job)
        in_job.clear()

    monkeypatch.setattr(site.fake, "_end", end)
    site.fake.at["submit"] = lambda: begin.append(site.clock.now)

    def unless_away(usual: Callable[..., Any]) -> Callable[..., Any]:
        def ask(store: LocalStore, folder: PurePath) -> Any:
            if begin and not in_job and begin[0] < site.clock.now < begin[0] + seconds:
                operation, reason = "list", "no route to host"
                raise error(operation, str(folder), reason)
            return usual(store, folder)

        return ask

    for name in ("sizes", "names", "entries"):
        monkeypatch.setattr(LocalStore, name, unless_away(getattr(LocalStore, name)))


def test_jobs_that_end_meanwhile_are_done(
    site: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    away(site, monkeypatch, 5000.0)
    workflow = site.workflow(3, no_canary=True)
    site.run(workflow)
    assert site.clock.now - site.clock.start > 5000
    assert site.fake.times() == dict.fromkeys(range(3), 1)
    assert site.done(workflow) == [0, 1, 2]
    said = capfd.readouterr().err
    assert said.count("the store does not answer (no route to host); nothing is concluded from that, jobs run on") == 1
    assert "failed: 1" not in said


def test_failures_are_told_when_it_is_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    away(site, monkeypatch, 5000.0)
    site.fake.script = {1: [FailureClass.CODE]}
    with pytest.raises(JobsError, match="1 of 3 branches failed"):
        site.run(site.workflow(3, no_canary=True))
    assert site.fake.times() == dict.fromkeys(range(3), 1)
    assert "1 branch failed for 1 reason" in capfd.readouterr().err


def test_what_time_does_not_heal_ends_the_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the jobs run on."""
    away(site, monkeypatch, 1e9, TrustError)
    site.fake.script = {0: [FOREVER]}
    with pytest.raises(TrustError):
        site.run(site.workflow(3, no_canary=True))
    assert site.fake.cancelled == []
