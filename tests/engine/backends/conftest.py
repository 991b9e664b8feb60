from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
