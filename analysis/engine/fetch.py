"""What ``--fetch-output`` and ``--remove-output`` do: copies of outputs in a local directory, and their removal."""

from __future__ import annotations

import errno
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

from analysis.engine.concurrent import concurrently
from analysis.engine.errors import ParameterError, StoreError
from analysis.engine.leftovers import lock_path
from analysis.engine.manifest import FOLDER, OutputRecord, checksum
from analysis.engine.recipes import required_tasks
from analysis.engine.shards import shard_of
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage.base import RemoteError
from analysis.engine.withdrawal import names_of, withdraw

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask

_AT_ONCE = 8
_MODES = {"i": "interactive", "a": "all", "d": "dry"}
_FLAGS = {**dict.fromkeys(("true", "yes", "y", "1"), True), **dict.fromkeys(("false", "no", "n", "0"), False)}


class Extent(NamedTuple):
    """Which tasks are meant.

    Args:
        depth: how far above the root; -1 for all.
        patterns: families above which nothing is meant.
    """

    depth: int
    patterns: tuple[str, ...]


def parse_extent(text: str) -> Extent:
    """The first value of both parameters, as law has it.

    Args:
        text: a depth, a pattern of a task family, or several of them separated by ``|``.

    Examples:
        >>> parse_extent("2"), parse_extent("Read*"), parse_extent("3|Read")
        (Extent(depth=2, patterns=()), Extent(depth=-1, patterns=('Read*',)), Extent(depth=3, patterns=('Read',)))
    """
    depth, patterns = -1, []
    for part in (part.strip() for part in text.split("|")):
        if part.removeprefix("-").isdecimal():
            depth = int(part)
        elif part:
            patterns.append(part)
    return Extent(depth, tuple(patterns))


def tasks_within(root: AnalysisTask, extent: Extent) -> Iterator[tuple[AnalysisTask, int]]:
    """Tasks at the level of workflows, each once, with their distance from the root.

    Args:
        root: where to start.
        extent: where to end.
    """
    import law

    level, seen, depth = [root], {root.key}, 0
    while level and (extent.depth < 0 or depth <= extent.depth):
        above: list[AnalysisTask] = []
        for task in level:
            yield task, depth
            if extent.patterns and law.util.multi_match(task.get_task_family(), list(extent.patterns), mode=any):
                continue
            fresh = {other.key: other for other in required_tasks(task) if other.key not in seen}
            seen.update(fresh)
            above += fresh.values()
        level, depth = above, depth + 1


# fetch


class Copy(NamedTuple):
    """An output to copy.

    Args:
        task: its task, or branch.
        record: what its manifest says of it.
        destination: local path.
    """

    task: AnalysisTask
    record: OutputRecord
    destination: Path


def fetch_output(root: AnalysisTask, values: Sequence[str]) -> int:
    """Copy outputs of a task, and of what it requires, to a local directory, and compare them with their checksums.

    Args:
        root: the task.
        values: as law has them: extent, mode (``i``, ``a`` or ``d``), directory (default: this one), whether names
            begin with that of the task (default: yes), and whether external outputs are meant, of which we have none.

    Returns:
        Exit code: 1 if an output is missing, or not what its manifest says.

    Raises:
        ParameterError: for values that make no sense.
        StoreError: if a server does not answer, or the directory cannot be written.
    """
    words = _words("fetch-output", values, 5)
    directory, unique = Path(words[2] or "."), _flag("fetch-output", words[3], True)
    _flag("fetch-output", words[4], False)
    mode = _mode("fetch", words[1])
    snapshot, copies, missing = Snapshot(), [], 0
    with _one_sentence():
        for task, depth in tasks_within(root, parse_extent(words[0])):
            found, lacking = _copies(task, snapshot, directory, unique)
            size = sum(copy.record.size for copy in found)
            print(f"{depth} {task.title()}: {_size(len(found), size)}" + (f", {lacking} missing" if lacking else ""))
            if mode == "i" and found and not _asked("fetch"):
                continue
            copies += found
            missing += lacking
        _check_names(copies)
        if mode == "d":
            for copy in copies:
                print(f"{copy.record.path} -> {copy.destination}")
            return 0
        directory.mkdir(parents=True, exist_ok=True)
        concurrently(_fetch, copies, _AT_ONCE)
    print(f"{_size(len(copies), sum(copy.record.size for copy in copies))} fetched to {directory}")
    if missing:
        print(f"{missing} tasks or branches have no outputs: run them first", file=sys.stderr)
    return 1 if missing else 0


def _copies(task: AnalysisTask, snapshot: Snapshot, directory: Path, unique: bool) -> tuple[list[Copy], int]:
    """Outputs of all branches, and the number of branches that have none."""
    snapshot.prefetch([task])
    branches = list(task.branch_tasks())
    there = [branch for branch in branches if snapshot.record(branch) is not None]
    snapshot.read_manifests(there)
    begin = f"{task.live_task_id}__" if unique else ""
    copies = []
    for branch in there:
        manifest = snapshot.required_manifest(branch)
        names = ((record, directory / f"{begin}{PurePath(record.path).name}") for record in manifest.outputs)
        copies += [Copy(branch, record, destination) for record, destination in names]
    return copies, len(branches) - len(there)


def _check_names(copies: Sequence[Copy]) -> None:
    counted = Counter(copy.destination for copy in copies)
    double = [path for path, number in counted.items() if number > 1]
    if double:
        msg = f"--fetch-output: {counted[double[0]]} outputs would be {double[0]}: leave the fourth value at True"
        raise ParameterError(msg)


def _fetch(copy: Copy) -> None:
    store, record = copy.task.store, copy.record
    part = copy.destination.with_name(f".{copy.destination.name}.part")
    try:
        with store.localized(store.root / record.path, record.size, record.adler32) as path:
            shutil.copyfile(path, part)
        if checksum(part) != record.adler32:
            msg = f"{record.path} is not what its manifest says: run --verify, then run its task again"
            raise StoreError(msg)
        part.replace(copy.destination)
    finally:
        part.unlink(missing_ok=True)


# remove


class Outcome(NamedTuple):
    """What became of a branch.

    Args:
        files: number of outputs that were removed.
        busy: whether somebody is at work on it, so that nothing was.
    """

    files: int
    busy: bool = False


def remove_output(root: AnalysisTask, values: Sequence[str]) -> int:
    """Remove outputs of a task, and of what it requires; their manifests go to the history before.

    Args:
        root: the task.
        values: as law has them: extent, mode (``i``, ``a`` or ``d``), and whether the task is run afterwards.

    Returns:
        Exit code: 1 if somebody is at work on one of them.

    Raises:
        ParameterError: for values that make no sense.
        StoreError: if a server does not answer, or something cannot be removed.
    """
    words = _words("remove-output", values, 3)
    runs_afterwards(values)
    mode = _mode("remove", words[1])
    snapshot, files, busy = Snapshot(), 0, 0
    with _one_sentence():
        for task, depth in tasks_within(root, parse_extent(words[0])):
            snapshot.prefetch([task])
            found = [(branch, paths) for branch in task.branch_tasks() if (paths := _present(branch, snapshot))]
            number = sum(len(paths) for _, paths in found)
            print(f"{depth} {task.title()}: {number} files of {len(found)} tasks or branches")
            if mode == "a" and getattr(task, "skip_output_removal", False):
                print("    configured to skip")
                continue
            if mode == "d":
                print("\n".join(f"    {path}" for _, paths in found for path in paths), end="\n" if found else "")
                continue
            if found and (mode == "a" or _asked("remove")):
                outcomes = concurrently(lambda one: _remove(*one), found, _AT_ONCE)
                files += sum(outcome.files for outcome in outcomes)
                for (branch, _), outcome in zip(found, outcomes, strict=True):
                    if outcome.busy:
                        busy += 1
                        print(f"{branch.title()} was left alone: somebody is at work on it", file=sys.stderr)
    print(f"{files} files removed" if mode != "d" else "Nothing was removed.")
    return 1 if busy else 0


def runs_afterwards(values: Sequence[str]) -> bool:
    """Whether ``--remove-output`` asks to run the task.

    Raises:
        ParameterError: if that makes no sense.
    """
    return _flag("remove-output", _words("remove-output", values, 3)[2], False)


def _present(branch: AnalysisTask, snapshot: Snapshot) -> list[PurePath]:
    """Manifests and outputs of a branch that are there, in the order of their removal."""
    store = branch.store
    records = [_manifests(branch) / str(name) for name, _ in snapshot.names(branch)]
    outputs = [path for path in branch.output_paths() if path.name in snapshot.sizes(path.parent, store)]
    for path in outputs:
        _check_inside(branch.folder, path)
    return [*records, *outputs]


def _check_inside(folder: PurePath, path: PurePath) -> None:
    """See whether an output is in the folder of its task: ``output()`` may name whatever it likes.

    Raises:
        StoreError: if it is not, be it by ``..`` or by a link.
    """
    inside = path.is_relative_to(folder) and path != folder and ".." not in path.relative_to(folder).parts
    if inside and isinstance(path, Path):
        inside = path.parent.resolve().is_relative_to(Path(folder).resolve())
    if not inside:
        msg = f"{path} is not in {folder}, and nothing was removed: correct output(), or use 'analysis rm'"
        raise StoreError(msg)


def _manifests(branch: AnalysisTask) -> PurePath:
    return branch.folder / FOLDER / shard_of(branch.branch_number)


def _remove(branch: AnalysisTask, found: Sequence[PurePath]) -> Outcome:
    store = branch.store
    lock = store.lock(lock_path(branch.folder, branch.branch_number))
    if not lock.acquire():
        return Outcome(0, busy=True)
    try:
        # as they are now: somebody may have written another one
        withdraw(store, branch.folder, names_of(branch.branch_number, store.names(_manifests(branch))))
        outputs = [path for path in found if path.parent != _manifests(branch)]
        for path in outputs:
            store.remove(path)
    finally:
        lock.release()
    return Outcome(len(found))


# words


def _words(name: str, values: Sequence[str], limit: int) -> list[str]:
    words = [str(value).strip() for value in values]
    if len(words) > limit:
        msg = f"--{name} {','.join(words)} has {len(words)} values: there are {limit} at most"
        raise ParameterError(msg)
    return words + [""] * (limit - len(words))


def _flag(name: str, word: str, default: bool) -> bool:
    if not word:
        return default
    if word.lower() not in _FLAGS:
        msg = f"--{name}: {word!r} is neither True nor False"
        raise ParameterError(msg)
    return _FLAGS[word.lower()]


def _mode(what: str, word: str) -> str:
    """The mode; interactive by default, as for law."""
    mode = word.lower()[:1] or "i"
    if mode not in _MODES or (len(word) > 1 and word.lower() != _MODES[mode]):
        msg = f"--{what}-output: the mode {word!r} is none of i (interactive), a (all) and d (dry run)"
        raise ParameterError(msg)
    if mode == "i" and not sys.stdin.isatty():
        msg = f"--{what}-output: there is no terminal to ask on: add the mode, a (all) or d (dry run), as in 0,a"
        raise ParameterError(msg)
    return mode


def _asked(what: str) -> bool:
    from law.util import query_choice

    return str(query_choice(f"    {what} outputs?", ["y", "n"], default="n", descriptions=["yes", "no"])) == "y"


def _size(files: int, size: int) -> str:
    from analysis.engine.plan import show_size

    return f"{files} files, {show_size(size)}"


@contextmanager
def _one_sentence() -> Iterator[None]:
    try:
        yield
    except RemoteError as error:
        raise StoreError(str(error)) from error
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        msg = f"{where}{(error.strerror or str(error)).lower()}"
        raise StoreError(msg) from error
