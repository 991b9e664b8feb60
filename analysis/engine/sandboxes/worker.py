"""The process in a sandbox that runs the task, and tells what became of it."""

from __future__ import annotations

import importlib
import json
import socket
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.engine.sandboxes.base import Crossing

if TYPE_CHECKING:
    from analysis.engine.task import AnalysisTask


def work(connection: socket.socket, request: Mapping[str, Any]) -> int:
    """Run the task of a request, and tell what became of it.

    Args:
        connection: to the process that asked for it.
        request: see :func:`analysis.engine.sandboxes.outside.enter`.

    Returns:
        Exit code.
    """
    crossing, is_good = None, False
    try:
        is_good = _look_around(request)
        from analysis.engine.backends.runner import import_law

        import_law()
        _prepare(connection, request)
        with task_of(request) as task:
            _lend(task, connection)
            task.run()
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # SystemExit as well: it would be taken for a success or a crash of the sandbox
        crossing = _crossing(error)
    tell(connection, "answer", {"error": crossing, "is_good": is_good})
    return 0 if crossing is None else 1


def _crossing(error: BaseException) -> Crossing:
    trace = "".join(traceback.format_exception(error))
    try:
        from analysis.engine.backends.failures import failure_of
        from analysis.engine.storage.masking import masked
    except ImportError:  # what the engine needs is not here, which is what the error is about
        return Crossing({"error": type(error).__qualname__}, str(error), trace)
    return Crossing(failure_of(error).to_json(), masked(str(error)), masked(trace))


@contextmanager
def task_of(request: Mapping[str, Any]) -> Iterator[AnalysisTask]:
    """The task of a request; until the end, parameters of other tasks are what the command line outside says."""
    from luigi.cmdline_parser import CmdlineParser
    from luigi.task_register import Register

    from analysis.engine import session

    for module in request["modules"]:
        importlib.import_module(module)
    session.has_no_root()
    cls = Register.get_task_cls(request["family"])
    known = dict(cls.get_params())
    values = {name: known[name].parse(text) for name, text in request["parameters"].items()}
    if not request["argv"]:
        yield cls(**values)
        return
    with CmdlineParser.global_instance([request["family"], *request["argv"]]):
        yield cls(**values)


def _prepare(connection: socket.socket, request: Mapping[str, Any]) -> None:
    """Let this process be as the one outside: stores, slots, bars, log."""
    from analysis import carried
    from analysis.engine import progress, slots
    from analysis.engine.sandboxes import outside
    from analysis.engine.storage import masking, settings
    from analysis.engine.storage.resolved import Resolved

    masking.install()
    outside.know(request["identities"])
    carried.take(request["files"])
    settings.take(Resolved.from_json(request["stores"]))
    folder, workers = request["slots"]
    slots.join(Path(folder) if folder else None, workers)
    if request["bars"]:
        progress.forward(lambda *counts: tell(connection, "progress", *counts))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]


def _look_around(request: Mapping[str, Any]) -> bool:
    """Whether all is there that is wanted; not asked for if this is known.

    Raises:
        SandboxError: if not.
    """
    from analysis.engine.sandboxes.probe import Wanted, probe

    if request["wanted"]:
        probe(Wanted(*request["wanted"]))
    return bool(request["wanted"])


def _lend(task: Any, connection: socket.socket) -> None:
    """What luigi lends to a task while it runs."""
    task.set_status_message = lambda text: tell(connection, "status", text)
    task.set_progress_percentage = lambda number: tell(connection, "percentage", number)


def tell(connection: socket.socket, what: str, *values: Any) -> None:
    """Send a line to the process outside; in one piece if it is short, as helpers of workflows write as well."""
    connection.sendall(json.dumps([what, *values]).encode() + b"\n")
