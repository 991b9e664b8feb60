"""Small tasks, whose stores are looked through."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import law
import luigi

from analysis.engine.workflow import AnalysisWorkflow
from analysis.errors import AnalysisError


class ToyError(AnalysisError):
    """A toy cannot be made."""


class Toy(AnalysisWorkflow):
    """Two files per branch."""

    number = luigi.IntParameter(default=1)
    label = luigi.Parameter(default="a")

    branch_count = 3

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        params = dict(super().modify_param_values(params))
        if params["number"] < 0:
            msg = f"--number {params['number']} is negative: use a positive one"
            raise ToyError(msg)
        return params

    def create_branch_map(self) -> dict[int, Any]:
        return dict.fromkeys(range(self.branch_count), 0)

    def output(self) -> dict[str, law.FileSystemFileTarget]:
        return {kind: self.target(f"{kind}_{self.branch}.txt") for kind in ("a", "b")}

    def run(self) -> None:
        for target in self.output().values():
            self.staged(target).write_text("12345")
        self.account(events_out=1234)


class FileToy(Toy):
    """Its folder is named after a file that has to be readable; files of one name share it."""

    source = luigi.Parameter()
    path_parameters = Toy.path_parameters | {"source"}

    @classmethod
    def modify_param_values(cls, params: dict[str, Any]) -> dict[str, Any]:
        params = dict(super().modify_param_values(params))
        try:
            Path(params["source"]).read_text()
        except OSError as error:
            msg = f"{params['source']} cannot be read"
            raise ToyError(msg) from error
        return params

    def store_parts(self) -> tuple[str, ...]:
        return (*super().store_parts(), Path(self.source).stem)

    def create_branch_map(self) -> dict[int, Any]:
        return dict(enumerate(Path(self.source).read_text().split()))


def run_all(task: Toy) -> Toy:
    for branch in task.branch_tasks():
        branch.run()
    return task


def files(store: Path) -> set[str]:
    """All files and links of a store."""
    return {path.relative_to(store).as_posix() for path in store.rglob("*") if path.is_symlink() or not path.is_dir()}


def edit(manifest: Path, recipe: dict[str, Any] | None = None, **fields: Any) -> None:
    """Forge a manifest."""
    content = json.loads(manifest.read_text())
    content["recipe"].update(recipe or {})
    manifest.write_text(json.dumps({**content, **fields}))


def copy_folder(store: Path, source: str, destination: str, **fields: Any) -> Path:
    """Copy a task folder, and forge its manifests."""
    shutil.copytree(store / source, store / destination)
    for manifest in (store / destination / "manifests").iterdir():
        edit(manifest, **fields)
    return store / destination


def dead_process() -> int:
    """Id of a process that is gone."""
    return int(
        subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True).stdout
    )


def make_old(path: Path) -> None:
    """Two days without a sign of life."""
    seconds = path.stat().st_mtime - 2 * 86400
    os.utime(path, (seconds, seconds))
