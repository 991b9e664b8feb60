"""Edits of a project and what they make stale: a notation for tests and for people."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from analysis.config.variables import FEATURES, SCORE
from tests.chain import REPOSITORY

NOMINAL = ("ttbar", "single_top_s_chan", "single_top_t_chan", "single_top_tW", "wjets")
VARIED = ("ttbar_scaleup", "ttbar_scaledown", "ttbar_ME_var", "ttbar_PS_var")
GROUPS: dict[str, tuple[str, ...]] = {
    "<nominal>": NOMINAL,
    "<varied>": VARIED,
    "<classifier>": tuple(v.name for v in (*FEATURES, SCORE)),
}
"""Names that stand for several data sets or variables."""

ARROW = "→"

LISTS = Path(__file__).resolve().parents[2] / "sandboxes"

MADE_INTO: Mapping[str, tuple[str, ...]] = {
    "GenerateEvents": ("IndexFiles",),
    "IndexFiles": ("SelectEvents",),
    "SelectEvents": ("ReduceEvents", "PlotCutflow"),
    "ReduceEvents": ("ProduceColumns",),
    "ProduceColumns": ("TrainModel",),
    "TrainModel": ("EvaluateModel",),
    "EvaluateModel": ("FillHistograms", "PlotTraining"),
    "FillHistograms": ("MergeHistograms",),
    "MergeHistograms": ("BuildModel", "PlotVariables", "PlotShifts"),
    "BuildModel": ("FitModel",),
    "FitModel": ("PlotFit", "PlotPulls", "TabulateYields"),
    **dict.fromkeys(("PlotCutflow", "PlotTraining", "PlotVariables", "PlotShifts"), ("Report",)),
    **dict.fromkeys(("PlotFit", "PlotPulls", "TabulateYields"), ("Report",)),
    "Report": (),
}
"""The chain as a physicist knows it: which tasks work with the outputs of a task, written down by hand."""

HISTOGRAMS = ("FillHistograms", "MergeHistograms")
FITTED = ("BuildModel →", "PlotVariables", "PlotShifts")
"""What is made of all histograms of a data set."""

SCORED = ("EvaluateModel", "PlotTraining", *HISTOGRAMS, "PlotVariables <classifier>", "Report")
"""What is made of the classifier's scores."""

WEIGHTED = ("FillHistograms <nominal>", "MergeHistograms <nominal>", *FITTED)
OBSERVED = ("ProduceColumns * * observables", "ProduceColumns ttbar nominal training", "TrainModel →")
SHIFTED = (
    "SelectEvents <nominal>",
    "ReduceEvents <nominal>",
    "ProduceColumns <nominal>",
    "TrainModel →",
    "PlotCutflow",
)

PROBE = """
import json, sys

import analysis.tasks
from analysis.engine.plan import walk
from analysis.engine.snapshot import Snapshot

root, snapshot, found = getattr(analysis.tasks, sys.argv[1])(**json.loads(sys.argv[2])), Snapshot(), {}
for task, _ in walk(root, snapshot, everything=True):
    for branch, state in snapshot.states(task).items():
        value = "" if branch is None else task.get_branch_map()[branch]
        name = value if isinstance(value, str) else str(branch)
        found[f"{task.title()} {name}".strip()] = state.value
print(json.dumps(found))
"""
"""Prints the states of all branches of a task and of all it is made of."""

States = dict[str, str]


@dataclass(frozen=True)
class Project:
    """A checkout with a store, and input files.

    Args:
        folder: where it is: ``repository``, ``store``, ``files`` and ``law_home`` are in it.
    """

    folder: Path

    @classmethod
    def copy(cls, folder: Path, store: Path | None = None) -> Project:
        """Copy this repository, and a store."""
        project = cls(folder)
        for name in ("analysis", "sandboxes"):
            shutil.copytree(REPOSITORY / name, project.path(name), ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy2(REPOSITORY / "law.cfg", project.path("law.cfg"))
        (folder / "law_home").mkdir()
        (folder / "files").mkdir()
        if store:
            shutil.copytree(store, project.store)
        project.run("-c", "import analysis.tasks", PYTHONDONTWRITEBYTECODE="")  # compiled once, not for each edit
        return project

    @property
    def store(self) -> Path:
        """The store."""
        return self.folder / "store"

    def path(self, name: str) -> Path:
        """A file: ``store/...``, ``files/...``, or one of the repository; with one ``*`` in it, the one that is so."""
        start = "" if name.startswith(("store/", "files/")) else "repository/"
        if "*" not in name:
            return self.folder / f"{start}{name}"
        (found,) = self.folder.glob(f"{start}{name}")
        return found

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the checkout."""
        finished = subprocess.run(
            [sys.executable, *arguments],
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "PYTHONPATH": str(self.folder / "repository"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "ANALYSIS_BASE": str(self.folder / "repository"),
                "ANALYSIS_STORE": str(self.store),
                "LAW_HOME": str(self.folder / "law_home"),
                "LAW_CONFIG_FILE": str(self.path("law.cfg")),
                **environment,
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        return finished

    def law(self, family: str, *arguments: str) -> str:
        """``law run`` of a task; what it reports."""
        return self.run("-m", "law", "run", f"analysis.tasks.{family}", *arguments).stderr

    def states(self, family: str, **parameters: Any) -> States:
        """State of each branch of a task and of all it is made of."""
        found: States = json.loads(self.run("-c", PROBE, family, json.dumps(parameters)).stdout)
        return found

    @contextmanager
    def edited(self, changes: Iterable[Change]) -> Iterator[None]:
        """Apply changes, and take them back at the end, times of modification included."""
        with_undo: list[Callable[[], object]] = []
        try:
            for change in changes:
                path = self.path(change.file)
                content, status = (path.read_bytes(), path.stat()) if path.exists() else (None, None)
                new = change.edit(content, self)
                with_undo.append(_undo(path, content, status))
                if new is None:
                    path.unlink()
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(new)
            yield
        finally:
            for undo in reversed(with_undo):
                undo()


class Change(NamedTuple):
    """A change of one file.

    Args:
        file: see :meth:`Project.path`.
        edit: from the content that it has, to the one it shall have; ``None`` for a file that is not there.
    """

    file: str
    edit: Callable[[bytes | None, Project], bytes | None]


@dataclass(frozen=True)
class Edit:
    """One row of the table.

    Args:
        what: what is done, for people.
        changes: what is changed for it.
        stale: what it makes stale, in the notation of :func:`expand`.
        missing: what it makes missing.
        remark: why, if that is not obvious.
        parameters: parameters of the run.
    """

    what: str
    changes: tuple[Change, ...] = ()
    stale: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    remark: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def markdown(self) -> str:
        """Row of the table in the docs."""
        cells = [f"`{'`, `'.join(self.stale)}`"] if self.stale else []
        cells += [f"missing: `{'`, `'.join(self.missing)}`"] if self.missing else []
        return f"| {self.what} | {'; '.join(cells) or 'nothing'} | {self.remark} |"


def replace(file: str, old: str, new: str) -> Change:
    """Replace a text that is in the file exactly once."""

    def edit(content: bytes | None, _project: Project) -> bytes:
        text = (content or b"").decode()
        assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
        return text.replace(old, new).encode()

    return Change(file, edit)


def substitute(file: str, pattern: str, new: str) -> Change:
    """Replace what a regular expression matches exactly once."""

    def edit(content: bytes | None, _project: Project) -> bytes:
        text, times = re.subn(pattern, new, (content or b"").decode(), flags=re.MULTILINE)
        assert times == 1, f"{file} has {pattern!r} {times} times"
        return text.encode()

    return Change(file, edit)


def append(file: str) -> Change:
    """Append a function that nobody calls."""
    return Change(file, lambda content, _project: (content or b"") + b"\n\ndef _never_called() -> int:\n    return 1\n")


def pin(package: str, *sets: str) -> tuple[Change, ...]:
    """Pin another version of a package: in all lists that have it, as ``sandboxes/pin.sh`` does, or in some."""
    pattern = rf"^{re.escape(package)}==[^\s;]+"
    lists = [path for path in sorted(LISTS.glob("*.txt")) if re.search(pattern, path.read_text(), re.MULTILINE)]
    return tuple(
        substitute(f"sandboxes/{path.name}", pattern, f"{package}==0.0.1")
        for path in lists
        if not sets or path.stem in sets
    )


def write(file: str, other: str) -> Change:
    """Give a file the content of another one."""
    return Change(file, lambda _content, project: project.path(other).read_bytes())


def remove(file: str) -> Change:
    """Remove a file that is there."""

    def edit(content: bytes | None, _project: Project) -> None:
        assert content is not None, f"there is no {file}"

    return Change(file, edit)


def touch(file: str) -> Change:
    """Write a file anew as it is."""
    return Change(file, lambda content, _project: content)


def truncate(file: str) -> Change:
    """Cut a file in half."""
    return Change(file, lambda content, _project: (content or b"")[: len(content or b"") // 2])


def expand(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    """Names that patterns stand for.

    Args:
        patterns: the first words of names, with ``*`` and the groups of :data:`GROUPS`. A task family with an arrow
            stands for it and for all that is made of it.
        names: titles with the number of the branch, or the variable that the branch stands for.
    """
    names, found = list(names), set()
    for pattern in patterns:
        for words in _spelt_out(pattern):
            matched = {name for name in names if _starts_with(name.split(), words)}
            assert matched, f"nothing is called {' '.join(words)!r}"
            found |= matched
    return found


def _spelt_out(pattern: str) -> Iterator[list[str]]:
    head, arrow, _ = pattern.partition(f" {ARROW}")
    if arrow:
        yield from ([family] for family in _downstream(head))
        return
    group = next((name for name in GROUPS if name in pattern), "")
    for member in GROUPS.get(group, ("",)):
        yield pattern.replace(group, member).split() if group else pattern.split()


def _downstream(family: str) -> set[str]:
    return {family}.union(*(_downstream(other) for other in MADE_INTO[family]))


def _starts_with(name: list[str], words: list[str]) -> bool:
    return len(name) >= len(words) and all(fnmatchcase(a, b) for a, b in zip(name, words, strict=False))


def _undo(path: Path, content: bytes | None, status: os.stat_result | None) -> Callable[[], object]:
    def undo() -> None:
        if content is None or status is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    return undo
