"""Garbage in the stores of small tasks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from luigi.task_register import Register

from analysis.engine import garbage, removal
from analysis.engine.garbage import Findings, Garbage
from analysis.engine.removal import Removed
from analysis.engine.storage.local import LocalStore
from tests.engine.toys import Toy, run_all

GONE = {"recipe": {"task": "NoSuchTask"}}


def finished(store: Path) -> Path:
    """Run a workflow."""
    Register.clear_instance_cache()
    run_all(Toy())
    return store.resolve()


def find_garbage(
    store: Path, stale: bool = False, history: bool = False, version: str | None = None, moved: bool = False
) -> Findings:
    return garbage.find_garbage(LocalStore(store), stale, history, version, moved)


def remove_garbage(store: Path, items: Iterable[Garbage]) -> Removed:
    return removal.remove_garbage(LocalStore(store), items)


def found(store: Path, stale: bool = False, history: bool = False) -> dict[str, str]:
    return {item.file.relative: item.why for item in find_garbage(store, stale, history).garbage}


def delete(store: Path, stale: bool = False, history: bool = False) -> Removed:
    return remove_garbage(store, find_garbage(store, stale, history).garbage)


def put(path: Path, content: str = "junk") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def manifests(folder: Path) -> list[Path]:
    return sorted((folder / "manifests").glob("[!.]*"))
