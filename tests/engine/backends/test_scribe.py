from __future__ import annotations

from pathlib import Path

import pytest

from analysis.engine.backends import scribe
from analysis.engine.backends.scribe import read_log


def test_long_log_loses_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scribe, "_HEAD", 4)
    monkeypatch.setattr(scribe, "_TAIL", 6)
    (tmp_path / "log").write_bytes(b"0123456789")
    assert read_log(tmp_path / "log") == b"0123456789"
    (tmp_path / "log").write_bytes(b"0123456789abcdef")
    assert read_log(tmp_path / "log") == b"0123\n\n[... 6 bytes left out ...]\n\nabcdef"
    assert read_log(tmp_path / "none") == b""
