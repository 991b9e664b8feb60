"""Garbage in the stores of small tasks."""

from __future__ import annotations

from pathlib import Path

from luigi.task_register import Register

from analysis.engine.garbage import find_garbage
from analysis.engine.removal import Removed, remove_garbage
from tests.engine.toys import Toy, run_all

GONE = {"recipe": {"task": "NoSuchTask"}}


def finished(store: Path) -> Path:
    """Run a workflow."""
    Register.clear_instance_cache()
    run_all(Toy())
    return store.resolve()


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
