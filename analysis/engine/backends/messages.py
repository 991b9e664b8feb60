"""What can be asked of a workflow with jobs while it runs, on the page of luigi's scheduler."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from analysis.engine.errors import BranchesError, ParameterError

if TYPE_CHECKING:
    from analysis.engine.workflow import AnalysisWorkflow

HELP = "parallel_jobs = N, retries = N, poll_interval = 30s, pause, resume, abort"


class AbortedError(BranchesError):
    """Somebody said abort on the scheduler's page."""


def handle_messages(workflow: AnalysisWorkflow) -> None:
    """Answer the messages that came in since the last time.

    Raises:
        AbortedError: if one of them is ``abort``.
    """
    messages = getattr(workflow, "scheduler_messages", None)  # luigi lends it to a task while it runs
    while messages is not None and not messages.empty():
        message = messages.get()
        text = str(message).strip()
        message.respond(answer(workflow, text))
        if text == "abort":
            msg = f"{workflow.title()} was aborted on the scheduler's page: its jobs are removed from the queue"
            raise AbortedError(msg)


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
    match = re.fullmatch(r"(\w+)\s*[=:]\s*(\S+)", text)
    if match is None or match[1] not in _PARSERS:
        return f"not understood: {text!r}; say one of {HELP}"
    name, value = match.groups()
    try:
        setattr(workflow, name, _PARSERS[name](type(workflow), value))
    except (ValueError, ParameterError) as error:
        return f"{name} stays as it is: {error}"
    return f"{name} is {value} now"


def _number(_kind: Any, text: str) -> int:
    return int(text)


def _duration(kind: Any, text: str) -> float:
    return float(kind.poll_interval.parse(text))


_PARSERS: dict[str, Callable[[Any, str], Any]] = {
    "parallel_jobs": _number,
    "retries": _number,
    "poll_interval": _duration,
}
