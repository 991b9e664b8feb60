"""The commit of a task: run, verify, move into place, write the manifest. In this order, or not at all."""

from __future__ import annotations

import errno
import functools
import os
import socket
import time
import warnings
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.engine import provenance
from analysis.engine.errors import OutputError, StoreError
from analysis.engine.manifest import Manifest, OutputRecord, checksum

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EACCES: "make it writable or set ANALYSIS_STORE to another place",
    errno.EPERM: "make it writable or set ANALYSIS_STORE to another place",
}


class Commit:
    """Outputs of one run of one task, from their temporary places to their final ones.

    Args:
        task: the task that runs.
    """

    def __init__(self, task: AnalysisTask) -> None:
        self._task = task
        self._promised = {Path(target.path) for target in task.output_targets()}
        self._staged: dict[Path, Path] = {}
        self.accounting: dict[str, float] = {}

    def begin(self) -> None:
        """Withdraw the manifest and remove what an interrupted run may have left."""
        with store_errors(self._task.folder):
            self._task.manifest_path.unlink(missing_ok=True)
            for final in self._promised:
                final.parent.mkdir(parents=True, exist_ok=True)
                final.unlink(missing_ok=True)
                for leftover in final.parent.glob(f".{final.name}.*.part"):
                    if not _is_alive(leftover.name.removeprefix(f".{final.name}.").removesuffix(".part")):
                        leftover.unlink(missing_ok=True)

    def stage(self, final: Path) -> Path:
        """Temporary path, beside the final one, to which an output is written.

        Raises:
            OutputError: if the task does not promise that output.
        """
        if final not in self._promised:
            msg = f"{self._task} writes {final}, which its output() does not name: add it there"
            raise OutputError(msg)
        self._staged[final] = final.with_name(f".{final.name}.{socket.gethostname()}-{os.getpid()}.part")
        return self._staged[final]

    def finish(self, resources: dict[str, float], started: str, messages: tuple[str, ...]) -> Manifest:
        """Verify the staged outputs, move them into place and write the manifest.

        Raises:
            OutputError: if an output is missing or empty.
            StoreError: if the store cannot be written.
        """
        for final in sorted(self._promised):
            staged = self._staged.get(final)
            if staged is None or not staged.is_file():
                msg = f"{self._task} did not write {final}, which its output() promises: nothing was kept"
                raise OutputError(msg)
            if not staged.stat().st_size:
                msg = f"{self._task} wrote {final} with zero bytes: nothing was kept"
                raise OutputError(msg)
        outputs = []
        with store_errors(self._task.folder):
            for final, staged in sorted(self._staged.items()):
                relative = str(final.relative_to(self._task.store))
                outputs.append(OutputRecord(relative, staged.stat().st_size, checksum(staged)))
                staged.replace(final)
            manifest = Manifest(
                task=self._task.get_task_family(),
                parameters=self._task.significant_parameters(),
                branch=self._task.branch_number,
                outputs=tuple(outputs),
                accounting=self.accounting,
                resources=resources,
                provenance={"started": started, "finished": _now(), **provenance.here()},
                warnings=messages,
            )
            manifest.write(self._task.manifest_path)
        return manifest

    def abort(self) -> None:
        """Remove everything that was staged."""
        for staged in self._staged.values():
            staged.unlink(missing_ok=True)


def committed(run: Callable[[Any], None]) -> Callable[[Any], None]:
    """Make a ``run`` method all or nothing; :class:`AnalysisTask` applies it to every ``run`` that is defined."""

    @functools.wraps(run)
    def wrapper(task: AnalysisTask) -> None:
        if task.commit is not None:  # run() of a subclass calls that of its base class: one commit for both
            run(task)
            return
        started, wall, cpu = _now(), time.monotonic(), time.process_time()
        task.commit = Commit(task)
        try:
            task.commit.begin()
            with warnings.catch_warnings(record=True) as caught, store_errors(task.folder, _NO_SPACE):
                warnings.simplefilter("default")
                run(task)
            resources = {
                "wall_seconds": round(time.monotonic() - wall, 3),
                "cpu_seconds": round(time.process_time() - cpu, 3),
                "peak_memory_bytes": float(provenance.peak_memory()),
            }
            messages = tuple(dict.fromkeys(f"{w.category.__name__}: {w.message}" for w in caught))
            manifest = task.commit.finish(resources, started, messages)
        except BaseException:
            task.commit.abort()
            raise
        finally:
            task.commit = None
        task.on_commit(manifest)

    return wrapper


@contextmanager
def store_errors(folder: Path, codes: Container[int] | None = None) -> Iterator[None]:
    """Turn a full disk, an exceeded quota or a missing permission into a :class:`StoreError`.

    Args:
        folder: what is written to, for the message.
        codes: the ``errno`` values that concern the store; ``None`` for all.

    Raises:
        StoreError: for these.
    """
    try:
        yield
    except OSError as error:
        if codes is not None and error.errno not in codes:
            raise
        advice = _ADVICE.get(error.errno or 0, "set ANALYSIS_STORE to another place")
        reason = (error.strerror or str(error)).lower()
        msg = f"{folder} cannot be written ({reason}): {advice}, then run again; nothing was half-written"
        raise StoreError(msg) from error


def _is_alive(owner: str) -> bool:
    host, _, pid = owner.rpartition("-")
    if host != socket.gethostname() or not pid.isdigit():
        return True  # another host may still be writing it
    if int(pid) == os.getpid():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
