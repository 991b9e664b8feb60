"""The conformance tests where no server is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.engine.storage.interfaces import FsspecInterface
from tests.engine.storage import conformance
from tests.engine.storage.conformance import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "store"
    folder.mkdir()
    return Place(FsspecInterface(), f"file://{folder}", has_checksums=False, makes_parents=False)


globals().update({test.__name__: test for test in conformance.TESTS if test not in conformance.OF_SERVERS})
