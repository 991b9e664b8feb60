from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    path = tmp_path / "store"
    monkeypatch.setenv("ANALYSIS_STORE", str(path))
    return path
