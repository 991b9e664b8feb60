"""What can be asked of a workflow with jobs while it runs, on the page of luigi's scheduler."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from analysis.engine.errors import BranchesError, ParameterError
from analysis.engine.terminal import say

if TYPE_CHECKING:
    from analysis.engine.workflow import AnalysisWorkflow

HELP = "parallel_jobs = N (0: no limit), retries = N, poll_interval = 30s, pause, resume, abort"


class AbortedError(BranchesError):
    """Somebody said abort on the scheduler's page."""


def handle_messages(workflow: AnalysisWorkflow) -> bool:
    """Answer the messages that came in since the last time.

    Returns:
        Whether there were any.

    Raises:
        AbortedError: if one of them is ``abort``.
    """
    messages, is_any = getattr(workflow, "scheduler_messages", None), False  # luigi lends it to a task while it runs
    while messages is not None and not messages.empty():
        message, is_any = messages.get(), True
        text = str(message).strip()
        said = answer(workflow, text)
        message.respond(page_text(said))
        say(f"{workflow.title()}: {text!r} on the scheduler's page: {said}")
        if text == "abort":
            msg = f"{workflow.title()} was aborted on the scheduler's page: its jobs are removed from the queue"
            raise AbortedError(msg)
    return is_any


def page_text(text: str) -> str:
    """Text as luigi's page shows it: it takes ``<`` for HTML, also in what a batch system says."""
    return text.translate(_NO_HTML)


_NO_HTML = str.maketrans(
    "<>", "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
)


def answer(workflow: AnalysisWorkflow, text: str) -> str:
    """Do what a message says.

    Args:
        workflow: the workflow.
        text: the message.

    Returns:
        What to answer.
    """
    if text in ("pause", "resume"):
        workflow.is_paused = text == "pause"
        return "no more jobs are submitted until 'resume'" if workflow.is_paused else "jobs are submitted again"
    if text == "abort":
        return "all jobs are removed from the queue"
    match = re.fullmatch(r"(\w+)\s*[=:]\s*(.+)", text)
    if match is None or match[1] not in _PARSERS:
        return f"not understood: {text!r}; say one of {HELP}"
    name, value = match.groups()
    try:
        setattr(workflow, name, _PARSERS[name](type(workflow), value))
    except (ValueError, ParameterError) as error:
        return f"{name} stays as it is: {error}"
    return f"{name} is {value} now"


def _number(_kind: Any, text: str) -> int:
    if not text.isdecimal():
        msg = f"{text!r} is not a number such as 0 or 10"
        raise ParameterError(msg)
    return int(text)


def _duration(kind: Any, text: str) -> float:
    seconds = float(kind.poll_interval.parse(text))
    if seconds <= 0:
        msg = f"{text!r} is not a time such as 30s or 5min"
        raise ParameterError(msg)
    return seconds


_PARSERS: dict[str, Callable[[Any, str], Any]] = {
    "parallel_jobs": _number,
    "retries": _number,
    "poll_interval": _duration,
}
