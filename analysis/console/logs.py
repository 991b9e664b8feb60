"""``analysis logs``: what the batch jobs of a task printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.backends.joblogs import Attempt
    from analysis.engine.task import AnalysisTask

HELP = "print the log of a branch that ran as a batch job, or list the attempts of all branches"


class NoLogError(AnalysisError):
    """There is no such log."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.usage = "analysis logs [-h] TASK [--parameters as in law run] [--attempt N | --all | --list]"
    parser.add_argument(
        "task", metavar="TASK", help="task family; its parameters follow as in law run, e.g. --branch 3"
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--attempt", metavar="N", type=int, help="attempt, as --list counts them; default: the last one")
    which.add_argument("--all", action="store_true", help="all attempts, the oldest first")
    which.add_argument("--list", action="store_true", help="list all attempts")


def run(arguments: argparse.Namespace) -> int:
    """Print logs, or list them.

    Args:
        arguments: ``task``, ``parameters``, ``attempt``, ``all`` and ``list``.

    Returns:
        Exit code.

    Raises:
        AnalysisError: if there is no such task or log, or a parameter makes no sense.
    """
    from analysis.console.tasks import asked_task, load_tasks
    from analysis.engine.backends import joblogs

    load_tasks()
    with asked_task(arguments.task, arguments.parameters) as task:
        branches = [task.branch_number] if task.branch_number is not None else task.branch_numbers()
        found = joblogs.attempts(task.store, task.folder)
        found = {branch: found[branch] for branch in branches if branch in found}
        if task.branch_number is None and (arguments.all or arguments.attempt is not None):
            msg = f"say which branch of {task.title()} is meant: add --branch"
            raise NoLogError(msg)
        if not _tell_current(task) and not found:
            raise _no_log(task)
        if arguments.list:
            print(_all_attempts(found))
        elif task.branch_number is None:
            print(_last_attempts(task, found))
        else:
            _print_logs(task, found.get(task.branch_number, []), arguments)
    return 0


# logs


def _print_logs(task: AnalysisTask, attempts: Sequence[Attempt], arguments: argparse.Namespace) -> None:
    from analysis.engine.backends import joblogs

    last = len(attempts)
    wanted = range(1, last + 1) if arguments.all else [last if arguments.attempt is None else arguments.attempt]
    for number in wanted if attempts else []:
        if not 1 <= number <= last:
            msg = f"{task.title()} has no attempt {number}: they are counted from 1 to {last}, the last one"
            raise NoLogError(msg)
        attempt = attempts[number - 1]
        print(_header(task, attempt, number, last))
        text = joblogs.read_log(task.store, task.folder, attempt)
        print(text, end="" if text.endswith("\n") or not text else "\n")


def _header(task: AnalysisTask, attempt: Attempt, number: int, last: int) -> str:
    from analysis.engine.backends import joblogs

    parts = [f"{task.title()}, attempt {number} of {last}", attempt.result, f"{_when(attempt)} UTC"]
    reason = ""
    if attempt.failure is not None:
        try:
            failure = joblogs.read_report(task.store, task.folder, attempt)
        except joblogs.LogError as error:
            print(error, file=sys.stderr)
        else:
            parts += [f"on {failure.host}", f"job {failure.job}"]
            reason = f": {failure}"
    return f"==> {', '.join(parts)}{reason}"


def _when(attempt: Attempt) -> str:
    """End of an attempt as people read it."""
    when = attempt.when
    return f"{when[:4]}-{when[4:6]}-{when[6:8]} {when[9:11]}:{when[11:13]}:{when[13:15]}"


# tables


def _last_attempts(task: AnalysisTask, found: Mapping[int, Sequence[Attempt]]) -> str:
    from tabulate import tabulate

    from analysis.engine.backends.summary import command_line

    if not found:
        return "No attempt has ended yet."
    last = sorted((attempts[-1].failure is None, branch) for branch, attempts in found.items())
    rows = [
        [str(branch), found[branch][-1].result, str(len(found[branch])), *_end(found[branch][-1])] for _, branch in last
    ]
    table = tabulate(rows, ["branch", "result", "attempts", *_END], disable_numparse=True)
    return f"{table}\n\nanalysis logs {command_line(task)} --branch {last[0][1]} prints a log."


def _all_attempts(found: Mapping[int, Sequence[Attempt]]) -> str:
    from tabulate import tabulate

    rows = [
        [str(branch), f"{number} of {len(attempts)}", attempt.result, *_end(attempt)]
        for branch, attempts in found.items()
        for number, attempt in enumerate(attempts, 1)
    ]
    return str(tabulate(rows, ["branch", "attempt", "result", *_END], disable_numparse=True))


_END = ("ended (UTC)", "job")


def _end(attempt: Attempt) -> list[str]:
    return [_when(attempt), attempt.token]


# what the ledger knows


def _tell_current(task: AnalysisTask) -> bool:
    """Say which job has the branch, or how many have branches, if any."""
    from analysis.console.jobs import open_ledger, output_of, since, state_of, utc

    with open_ledger() as ledger:
        jobs = ledger.active_jobs(str(task.folder)) if ledger else {}
        attempts = ledger.attempts(str(task.folder)).get(task.branch_number or 0, []) if ledger else []
    if task.branch_number is None:
        if jobs:
            print(f"{task.title()} has {len(jobs)} jobs in the queue: 'analysis jobs' lists them", file=sys.stderr)
        return bool(jobs)
    job = jobs.get(attempts[-1].job) if attempts and attempts[-1].result is None else None
    if job is None:
        return False
    host = f" on {job.status.host}" if job.status and job.status.host else ""
    print(
        f"{task.title()} is in {job.backend} job {job.id or '(without an id yet)'}, {state_of(job)}{host} since "
        f"{utc(since(job))} UTC; its log comes with its end, and what the job itself says is in {output_of(job)}",
        file=sys.stderr,
    )
    return True


def _no_log(task: AnalysisTask) -> NoLogError:
    from analysis.console.jobs import open_ledger, output_of

    if task.branch_number is not None:
        with open_ledger() as ledger:
            attempts = ledger.attempts(str(task.folder)).get(task.branch_number, []) if ledger else []
            job = ledger.job(attempts[-1].job) if ledger and attempts else None
        if job is not None:
            return NoLogError(
                f"{task.title()} has no log: {job.backend} job {job.id} left none ({attempts[-1].failure or 'ended'}); "
                f"look at {output_of(job)}"
            )
    return NoLogError(f"{task.title()} has no log: it never ran as a batch job, or --cleanup removed what it left")
