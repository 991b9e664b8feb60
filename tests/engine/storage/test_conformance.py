"""The conformance tests where no server is needed."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.engine.storage.base import Interface
from analysis.engine.storage.interfaces import FsspecInterface
from tests.engine.storage import conformance
from tests.engine.storage.conformance import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "store"
    folder.mkdir()
    return Place(FsspecInterface(), f"file://{folder}", has_checksums=False, makes_parents=False)


@pytest.fixture
def brief() -> Interface:
    return FsspecInterface(2)


globals().update({test.__name__: test for test in conformance.TESTS})
