"""``analysis jobs``: the batch jobs that are in the queue, as the ledger knows them."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from analysis.engine.backends.ledger import Ledger
    from analysis.engine.backends.records import Job

HELP = "list the batch jobs that are in the queue, of all workflows; no scheduler is asked"


class ActiveJob(NamedTuple):
    """A job that is in the queue.

    Args:
        folder: folder of the workflow in the store.
        job: the job.
        branches: its branches that are not settled yet.
    """

    folder: str
    job: Job
    branches: list[int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")


def run(arguments: argparse.Namespace) -> int:
    """List the jobs.

    Args:
        arguments: ``json``.

    Returns:
        Exit code.

    Raises:
        LedgerError: if the ledger cannot be used.
    """
    with open_ledger() as ledger:
        jobs = list(_active(ledger)) if ledger else []
        if arguments.json:
            print(json.dumps([_to_json(*row) for row in jobs], indent=1))
        elif not jobs or ledger is None:
            print("There are no jobs in the queue.")
        else:
            print(_table(jobs), "", _count(jobs), *_asked(jobs, ledger), sep="\n")
    return 0


@contextmanager
def open_ledger() -> Iterator[Ledger | None]:
    """The ledger of this ``LAW_HOME``; ``None`` if there never was a job.

    Raises:
        LedgerError: if it cannot be used.
    """
    from analysis.engine.backends.controller import LEDGER
    from analysis.engine.backends.ledger import Ledger
    from analysis.engine.backends.settings import jobs_folder

    path = jobs_folder() / LEDGER
    if not path.exists():  # a look leaves no traces
        yield None
        return
    with closing(Ledger(path)) as ledger:
        yield ledger


def state_of(job: Job) -> str:
    """State of a job that has not been settled, in a word."""
    if job.id is None:
        return "submitting"
    if job.status is None:
        return "pending"
    return str(job.status.state) if job.status.state.is_active else "ended"


def utc(seconds: float) -> str:
    """Unix time as people read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


def since(job: Job) -> float:
    """Unix time since which a job runs, or waits."""
    is_waiting = job.status is None or state_of(job) == "pending"
    return job.submitted if is_waiting or job.status is None else job.status.started or job.submitted


def _active(ledger: Ledger) -> Iterator[ActiveJob]:
    for folder in ledger.workflows():
        branches: dict[int, list[int]] = {}
        for branch, attempts in ledger.attempts(folder).items():
            if attempts[-1].result is None:
                branches.setdefault(attempts[-1].job, []).append(branch)
        for number, job in ledger.active_jobs(folder).items():
            yield ActiveJob(folder, job, sorted(branches.get(number, [])))


def _name(folder: str) -> str:
    """Folder of a workflow relative to the store."""
    store = Path(os.environ.get("ANALYSIS_STORE") or "/").absolute()
    path = Path(folder)
    return str(path.relative_to(store)) if path.is_relative_to(store) else folder


def _table(jobs: Sequence[ActiveJob]) -> str:
    from law.util import range_join
    from tabulate import tabulate

    header = ["workflow", "job", "state", "branches", "since (UTC)", "host", "reason"]
    rows = [
        [
            _name(folder),
            f"{job.backend} {job.id or '?'}",
            state_of(job),
            range_join(branches, to_str=True),
            utc(since(job)),
            job.status.host if job.status else "",
            job.status.reason if job.status else "",
        ]
        for folder, job, branches in jobs
    ]
    return str(tabulate(rows, header, disable_numparse=True))


def _count(jobs: Sequence[ActiveJob]) -> str:
    states = Counter(state_of(row.job) for row in jobs)
    workflows = len({row.folder for row in jobs})
    numbers = ", ".join(f"{number} {state}" for state, number in states.most_common())
    return f"{_number(len(jobs), 'job')} of {_number(workflows, 'workflow')}: {numbers}"


def _asked(jobs: Sequence[ActiveJob], ledger: Ledger) -> Iterator[str]:
    """How old that is: who watches jobs asks for them."""
    from analysis.engine.backends.statusline import show_duration

    for backend in sorted({row.job.backend for row in jobs}):
        answered, _, error = ledger.last_answer(backend)
        when = f"{show_duration(max(0.0, time.time() - answered))} ago" if answered else "never yet"
        yield f"{backend} answered {when}" + (f", and does not now: {error}" if error else "")


def _to_json(folder: str, job: Job, branches: list[int]) -> dict[str, Any]:
    status = job.status
    return {
        "workflow": _name(folder),
        "folder": folder,
        "backend": job.backend,
        "id": job.id,
        "state": state_of(job),
        "branches": branches,
        "submitted": job.submitted,
        "started": status.started if status else None,
        "seen": job.seen,
        "host": status.host if status else "",
        "reason": status.reason if status else "",
        "resources": job.resources,
        "output": str(output_of(job)),
    }


def output_of(job: Job) -> Path:
    """What a job itself prints, where the batch system brings it here."""
    return job.folder / f"job_{job.position}.txt"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
