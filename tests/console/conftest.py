from __future__ import annotations

from pathlib import Path

import pytest
from luigi.task_register import Register

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
