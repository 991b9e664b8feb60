"""Two workflows of many branches, and ``law run`` in a process that counts what it asks of the store."""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any

import law
import luigi

from analysis.engine.storage.local import LocalStore
from analysis.engine.workflow import AnalysisWorkflow

_AUDITED = {"os.listdir": "list", "os.scandir": "list", "os.rename": "write", "os.link": "write", "os.mkdir": "write"}
_AUDITED |= {"os.remove": "write", "os.utime": "write", "os.rmdir": "write"}

asked: list[tuple[str, str]] = []
"""What was asked through the engine's file system: kind and path."""
seen: list[tuple[str, str]] = []
"""What Python did in the store, by whichever way: kind and path."""


class CountingFiles(LocalStore):
    """Counts calls; a listing is one call, whatever the system calls behind it."""

    def sizes(self, folder: PurePath) -> dict[str, int]:
        asked.append(("list", str(folder)))
        return super().sizes(folder)

    def names(self, folder: PurePath) -> list[str]:
        asked.append(("list", str(folder)))
        return super().names(folder)

    def read(self, path: PurePath) -> bytes:
        asked.append(("open", str(path)))
        return super().read(path)

    def write(self, path: PurePath, content: bytes) -> None:
        asked.append(("write", str(path)))
        super().write(path, content)

    def move(self, source: PurePath, destination: PurePath) -> None:
        asked.append(("write", str(destination)))
        super().move(source, destination)

    def remove(self, path: PurePath) -> None:
        asked.append(("write", str(path)))
        super().remove(path)


class ManyBranches(AnalysisWorkflow):
    """A workflow whose branches write a number."""

    n = luigi.IntParameter(default=1000)
    path_parameters = AnalysisWorkflow.path_parameters | {"n"}

    @property
    def store(self) -> LocalStore:
        return CountingFiles(Path(os.environ["ANALYSIS_STORE"]).absolute())

    def create_branch_map(self) -> dict[int, int]:
        return {i: i for i in range(self.n)}

    def output(self) -> law.FileSystemFileTarget:
        return self.target(f"number_{self.branch}.txt")


class Numbers(ManyBranches):
    """The first numbers."""

    def run(self) -> None:
        self.staged(self.output()).write_text(str(self.branch_data))


class Squares(ManyBranches):
    """Their squares, branch by branch."""

    def workflow_requires(self) -> dict[str, Any]:
        return {"numbers": Numbers.req(self)}

    def requires(self) -> dict[str, Any]:
        return {"numbers": Numbers.req(self)}

    def run(self) -> None:
        number = int(Path(self.input()["numbers"].path).read_text())
        self.staged(self.output()).write_text(str(number**2))


def watch(store: Path) -> None:
    """Record from now on all that Python asks of a directory tree.

    An audit hook sees listings, the opening of files and changes; ``stat``, ``lstat`` and ``access``, which all that
    looks at single files ends in, raise no audit event and are wrapped.
    """
    root = str(store)

    def note(kind: str, path: Any) -> None:
        if isinstance(path, (str, bytes, os.PathLike)) and (text := os.fsdecode(path)).startswith(root):
            seen.append((kind, text))

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            flags = arguments[2] or 0
            note("write" if flags & (os.O_WRONLY | os.O_RDWR) else "open", arguments[0])
        elif event in _AUDITED:
            note(_AUDITED[event], arguments[0])

    def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, *arguments: Any, **options: Any) -> Any:
            note("stat", path)
            return function(path, *arguments, **options)

        return call

    sys.addaudithook(audit)
    for name in ("stat", "lstat", "access"):
        setattr(os, name, wrapped(getattr(os, name)))


def main() -> None:
    """``law`` with the arguments after the first, which is the file that the counts are written to at the end."""
    from law.cli.cli import run

    report = Path(sys.argv.pop(1))
    # registered first, hence called last
    atexit.register(lambda: report.write_text(json.dumps({"asked": asked, "seen": seen})))
    watch(Path(os.environ["ANALYSIS_STORE"]))
    run()
