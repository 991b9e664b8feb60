from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.engine import session
from tests.engine.backends.fake import SETTING, Jobs, Site, empty_configuration


@pytest.fixture
def no_configuration(tmp_path: Path) -> Iterator[Path]:
    """Nothing in ``law.cfg`` about jobs; the directory of submissions."""
    with empty_configuration(tmp_path / "jobs"):
        yield tmp_path / "jobs"


@pytest.fixture
def site(store: Path, no_configuration: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:  # noqa: ARG001
    """A site with a batch system in memory, and a clock that stands still unless somebody sleeps."""
    SETTING["value"] = 1
    yield Site(monkeypatch)
    SETTING["value"] = 1


@pytest.fixture
def jobs(site: Site) -> Jobs:
    """A workflow of three branches."""
    return site.workflow()


@pytest.fixture(autouse=True)
def _session_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes of the session, by parsing a command line, ends with it."""
    for name in ("_root", "_is_decided", "_snapshot", "_before"):
        monkeypatch.setattr(session, name, getattr(session, name))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
