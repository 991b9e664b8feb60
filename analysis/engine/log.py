"""What a run says: one sentence per error, and the result at the end."""

from __future__ import annotations

import atexit
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import luigi
from luigi.cmdline_parser import CmdlineParser
from luigi.parameter import ParameterException
from luigi.rpc import RPCError

from analysis.engine import progress
from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask

_USER_ERRORS = (AnalysisError, ParameterException, RPCError)
# luigi reports errors of complete() and requires() as text
_SCHEDULING = re.compile(
    r"Will not run (?P<task>\w+)\(.*\n(?:[\w.]+\.)?(?P<error>\w+): (?P<sentence>[^\n]+)\s*\Z", re.DOTALL
)
_failed = False
_root_task: AnalysisTask | None = None


class OneSentence(logging.Filter):
    """Replaces the traceback of an error that the user can mend by its one sentence."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record; never drops one."""
        global _failed  # noqa: PLW0603
        _failed = _failed or record.levelno >= logging.ERROR
        error = record.exc_info[1] if record.exc_info else None
        if record.levelno == logging.WARNING:  # such as each attempt to reach the scheduler
            record.exc_info = None
        if isinstance(error, _USER_ERRORS):
            failed = [a for a in record.args or () if isinstance(a, luigi.Task)] if record.args else []
            where = f"{_title(failed[0])}: " if failed else ""
            record.msg, record.args = f"{where}{type(error).__name__}: {error}", ()
            record.exc_info, record.exc_text = None, None
        elif (found := _SCHEDULING.match(str(record.msg))) and found["error"] in _names(AnalysisError):
            record.msg, record.args = f"{found['task']}: {found['error']}: {found['sentence']}", ()
        return True


def install() -> None:
    """Attach the filter to luigi's logger, and print the result of the root task when the process ends."""
    logger = logging.getLogger("luigi-interface")
    if not any(isinstance(f, OneSentence) for f in logger.filters):
        logger.addFilter(OneSentence())
        atexit.register(_print_result)


def remember_root(task: AnalysisTask) -> None:
    """Note the task that the command line asks for: the first one of its family."""
    global _root_task  # noqa: PLW0603
    parser = CmdlineParser.get_instance()
    asks = any(getattr(task, name) for name in task.interactive_params)
    if _root_task is None and not asks and parser is not None and parser.known_args.root_task == task.get_task_family():
        task.check()
        _root_task = task
        progress.start()


def _print_result() -> None:
    if _root_task is None or _failed:
        return
    try:
        lines = list(_root_task.result_lines()) if _root_task.complete() else []
    except AnalysisError as error:
        lines = []
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    for line in lines:
        print(line)
    sys.stdout.flush()


def _names(error: type[Exception]) -> set[str]:
    return {error.__name__}.union(*(_names(kind) for kind in error.__subclasses__()))


def _title(task: Any) -> str:
    return str(task.title()) if hasattr(task, "title") else str(task)
