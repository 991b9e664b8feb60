from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from luigi.task_register import Register

from analysis.engine.backends import settings
from analysis.engine.backends.controller import LEDGER
from analysis.engine.backends.ledger import Ledger
from tests.engine.toys import Toy, run_all


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A store with a finished workflow."""
    path = tmp_path / "store"
    monkeypatch.setenv("ANALYSIS_STORE", str(path))
    Register.clear_instance_cache()
    run_all(Toy())
    capsys.readouterr()
    return path.resolve()


@pytest.fixture
def jobs_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files of jobs and the ledger would be; does not exist."""
    path = tmp_path / "jobs"
    monkeypatch.setattr(settings, "jobs_folder", lambda: path)
    return path


@pytest.fixture
def ledger(jobs_folder: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with closing(Ledger(jobs_folder / LEDGER)) as ledger:
        yield ledger
