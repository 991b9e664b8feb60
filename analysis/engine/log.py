"""What a run says: one sentence per error, and the result at the end."""

from __future__ import annotations

import atexit
import logging
import re
import sys
from typing import Any

import luigi
from luigi.parameter import ParameterException
from luigi.rpc import RPCError

from analysis.engine import session
from analysis.engine.snapshot import Snapshot
from analysis.engine.storage import closing, masking
from analysis.engine.storage.base import RemoteError
from analysis.engine.storage.masking import masked
from analysis.engine.terminal import say
from analysis.errors import AnalysisError

_USER_ERRORS = (AnalysisError, ParameterException, RemoteError, RPCError)
# luigi reports errors of complete() and requires() as text
_SCHEDULING = re.compile(
    r"Will not run (?P<task>\w+)\(.*\n(?:[\w.]+\.)?(?P<error>\w+): (?P<sentence>[^\n]+)\s*\Z", re.DOTALL
)
_failed = False


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
            record.msg, record.args = masked(f"{where}{type(error).__name__}: {error}"), ()
            record.exc_info, record.exc_text = None, None
        elif (found := _SCHEDULING.match(str(record.msg))) and found["error"] in _names(AnalysisError):
            record.msg, record.args = f"{found['task']}: {found['error']}: {found['sentence']}", ()
        return True


def install() -> None:
    """Attach the filter to luigi's logger, and print the result of the root task when the process ends."""
    masking.install()
    logger = logging.getLogger("luigi-interface")
    if not any(isinstance(f, OneSentence) for f in logger.filters):
        logger.addFilter(OneSentence())
        closing.install()
        atexit.register(_print_result)


def _print_result() -> None:
    root = session.root()
    if root is None or _failed or not root.tells_result():
        return
    try:
        lines = list(root.result_lines()) if Snapshot().is_complete(root) else []
    except AnalysisError as error:
        lines = []
        say(f"{type(error).__name__}: {error}")
    for line in lines:
        print(line)
    sys.stdout.flush()


def _names(error: type[Exception]) -> set[str]:
    return {error.__name__}.union(*(_names(kind) for kind in error.__subclasses__()))


def _title(task: Any) -> str:
    return str(task.title()) if hasattr(task, "title") else str(task)
