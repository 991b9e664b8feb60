"""What went wrong, once per root cause: where in the code, in how many branches, how to see its log, and it, here."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from analysis.engine.backends.failures import Failure
    from analysis.engine.workflow import AnalysisWorkflow

_CAUSES = 5
_BRANCHES = 8
_FRAMES = 4


class FailedBranch(NamedTuple):
    """Why a branch failed.

    Args:
        failure: the last one.
        attempts: how often it was tried in this run.
        has_log: whether there is a log in the store.
    """

    failure: Failure
    attempts: int
    has_log: bool


def root_causes(
    workflow: AnalysisWorkflow, failed: Mapping[int, FailedBranch], missing: Collection[int], why: str = ""
) -> str:
    """Failed branches of a workflow, grouped by what went wrong.

    Args:
        workflow: the workflow.
        failed: what failed.
        missing: branches that are not complete; those among them that did not fail were not submitted.
        why: why they were not, as the end of a sentence.
    """
    groups: dict[str, list[int]] = {}
    for branch in sorted(failed):
        groups.setdefault(failed[branch].failure.fingerprint(), []).append(branch)
    causes = sorted(groups.values(), key=len, reverse=True)
    reasons = "reason" if len(causes) == 1 else "reasons"
    lines = [f"{workflow.title()}: {_number(len(failed), 'branch')} failed for {len(causes)} {reasons}"]
    for branches in causes[:_CAUSES]:
        lines += ["", *_cause(workflow, failed[branches[0]], branches)]
    if len(causes) > _CAUSES:
        lines += ["", f"  and {_number(len(causes) - _CAUSES, 'other reason')}"]
    unsubmitted = len(missing) - len(failed)
    if unsubmitted:
        lines += ["", f"  {_number(unsubmitted, 'branch')} were not submitted{why}"]
    return "\n".join(lines)


def _cause(workflow: AnalysisWorkflow, example: FailedBranch, branches: list[int]) -> list[str]:
    failure, command = example.failure, command_line(workflow, branches[0])
    numbers = ", ".join(map(str, branches[:_BRANCHES])) + (", ..." if len(branches) > _BRANCHES else "")
    tries = f", tried {example.attempts} times" if example.attempts > 1 else ""
    lines = [f"  {failure.kind}: {failure.error + ': ' if failure.error else ''}{failure.sentence}"]
    lines += [f"      {frame}" for frame in failure.frames[-_FRAMES:]]
    lines.append(f"    {_number(len(branches), 'branch')}: {numbers}{tries}; on {failure.host or 'an unknown host'}")
    if example.has_log:
        lines.append(f"    its log:  analysis logs {command}")
    lines.append(f"    run here: law run {command} --workflow local")
    return lines


def command_line(workflow: AnalysisWorkflow, branch: int | None = None) -> str:
    """Task family and parameters as the shell wants them.

    Args:
        workflow: the workflow, or a task without branches.
        branch: a branch of it.
    """
    parts = [workflow.get_task_family()]
    for name, parameter in workflow.get_params():
        value = parameter.serialize(getattr(workflow, name))
        if parameter.significant and name not in _NOT_SHOWN and value != parameter.serialize(parameter._default):
            option = f"--{name.replace('_', '-')}"
            parts += [f"{option}={value}"] if value.startswith("-") else [option, value]
    if branch is not None:
        parts += ["--branch", str(branch)]
    return shlex.join(parts)


_NOT_SHOWN = frozenset({"workflow", "effective_workflow", "branch", "branches"})


def _number(count: int, noun: str) -> str:
    plural = "es" if noun.endswith("ch") else "s"
    return f"{count} {noun}{'' if count == 1 else plural}"
