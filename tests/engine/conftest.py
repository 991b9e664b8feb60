from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import law
import pytest

from tests.engine.lock_holders import Process
from tests.engine.toy_chain import WORLD, World, forget


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store."""
    path = tmp_path / "store"
    monkeypatch.setenv("ANALYSIS_STORE", str(path))
    return path


@pytest.fixture
def stale() -> Iterator[Callable[..., None]]:
    """Writes the section ``stale`` of ``law.cfg``, which is empty at first."""
    before = dict(law.config.items("stale")) if law.config.has_section("stale") else None

    def write(**options: str) -> None:
        law.config.remove_section("stale")
        law.config.add_section("stale")
        for option, value in options.items():
            law.config.set("stale", option, value)

    write()
    yield write
    write(**(before or {}))
    if before is None:
        law.config.remove_section("stale")


@pytest.fixture
def world(store: Path, stale: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:  # noqa: ARG001
    """The world of the toy tasks as it is at first, an empty store, and modules of ``tmp_path`` in reach."""
    monkeypatch.syspath_prepend(tmp_path)
    WORLD.reset()
    forget()
    yield WORLD
    WORLD.reset()
    forget()


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes of a test; none outlives it."""
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()
