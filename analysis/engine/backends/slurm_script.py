"""The batch script of a Slurm job array: options, a clean environment, and the argument of each job."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from analysis.engine.backends.base import Submission, SubmissionError
from analysis.engine.backends.resources import Resources


@dataclass(frozen=True)
class SlurmSettings:
    """Section ``slurm`` of the configuration.

    Args:
        partition: partition of jobs that name none; empty: that of the site.
        account: account that is charged if a job names none; empty: that of the user.
        cluster: one cluster of several, as ``--clusters`` of Slurm's programs takes it; needs accounting.
        extra: further options of sbatch, long names without dashes; with an empty value it is a flag. They replace what
            is made from the resources: with ``mem-per-cpu``, a job does not get more memory when it is tried again.
        max_array: most jobs of an array; 0: as Slurm's configuration has it.
        shared_filesystem: whether jobs see the files of this machine under the same paths.
        accounting: whether ``sacct`` answers: on, off, or auto.
    """

    partition: str = ""
    account: str = ""
    cluster: str = ""
    extra: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    max_array: int = 0
    shared_filesystem: bool = True
    accounting: str = "auto"


RESERVED = frozenset(
    (
        *("array", "chdir", "clusters", "error", "export", "get-user-env", "job-name", "open-mode", "output"),
        *("parsable", "test-only", "wait", "wrap"),
    )
)
"""Options of sbatch that are no choice of the user."""

_MIB = 2**20
_INSTEAD = {"mem": ("mem-per-cpu", "mem-per-gpu"), "gres": ("gpus", "gpus-per-node", "gpus-per-task")}
_REPLACED = ("HOME", "LOGNAME", "PATH", "USER")
_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_NO_SCRATCH = 80


def job_name(submission: Submission) -> str:
    """Name of the jobs in the queue: readable, then their number, then the token.

    The number is there since Slurm forgets which tasks an array had that was cancelled before it started.
    """
    name = re.sub(r"[^A-Za-z0-9_+-]+", "_", submission.name)[:100]
    return f"{name}.{len(submission.arguments)}.{submission.token}"


def jobs_of(name: str, token: str) -> int:
    """Number of jobs of a submission, from a name that :func:`job_name` made; 0 for the name of another."""
    match = re.fullmatch(r"[^.]*\.(\d+)\.([A-Za-z0-9]+)", name)
    return int(match[1]) if match and match[2] == token else 0


def options(submission: Submission, settings: SlurmSettings) -> dict[str, str]:
    """Options of sbatch, by long name; an empty value is a flag.

    Raises:
        SubmissionError: for what Slurm cannot do.
    """
    last = len(submission.arguments) - 1
    carried = is_carried(submission, settings)
    found = {
        "job-name": job_name(submission),
        "array": f"0-{last}",
        "output": "/dev/null" if carried else _pattern(submission),
        "open-mode": "append",
        # the directory of a node that does not see ours
        "chdir": "/tmp" if carried else str(submission.folder),
        # sbatch itself runs with a small environment: NONE would run the profile of the user's login shell on the node
        "export": "ALL",
        "propagate": "NONE",
    }
    found |= _resources(submission.resources, settings)
    extra = _extra({**settings.extra, **submission.resources.extra})
    for name, others in _INSTEAD.items():
        if any(other in extra for other in others):
            found.pop(name, None)
    return found | extra


def script(submission: Submission, settings: SlurmSettings, forwarded: Mapping[str, str]) -> str:
    """Text of the batch script.

    Args:
        submission: the jobs.
        settings: of the site.
        forwarded: environment of sbatch of which the jobs must not see anything; its secrets are not among it, and not
            in this text.

    Raises:
        SubmissionError: for what Slurm cannot do.
    """
    lines = ["#!/bin/bash"]
    for name, value in options(submission, settings).items():
        lines.append(f"#SBATCH --{name}={_escape(value)}" if value else f"#SBATCH --{name}")
    for name, value in sorted(forwarded.items()):
        if name not in _REPLACED and not name.startswith("SLURM_"):  # what the node has set itself remains
            lines.append(f'[ "${{{name}-}}" != {shlex.quote(value)} ] || unset {name}')
    lines += ["unset HOME", 'export HOME=~ USER="$SLURM_JOB_USER" LOGNAME="$SLURM_JOB_USER"', f"export PATH={_PATH}"]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in submission.environment.items()]
    lines += ["arguments=(", *map(shlex.quote, submission.arguments), ")"]
    lines += ["argument=${arguments[${SLURM_ARRAY_TASK_ID:?}]:?}"]
    if is_carried(submission, settings):
        lines += _carried(submission)
    else:
        lines.append(f'exec bash {shlex.quote(str(submission.script))} "$argument"')
    return "\n".join(lines) + "\n"


def is_carried(submission: Submission, settings: SlurmSettings) -> bool:
    """Whether the batch script brings along the files of the job."""
    return bool(submission.inputs) or not settings.shared_filesystem


def _resources(resources: Resources, settings: SlurmSettings) -> dict[str, str]:
    if resources.container:
        msg = (
            f"Slurm jobs in the container {resources.container} are not supported: leave it away, or set an option "
            "of the site for it, such as container-image, in section slurm of the profile."
        )
        raise SubmissionError(msg)
    given = {
        "partition": resources.queue or settings.partition,
        "account": resources.accounting_group or settings.account,
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(max(resources.cores, 1)),
        "mem": f"{-(-resources.memory // _MIB)}M" if resources.memory else "",
        "time": str(-(-resources.runtime // 60)) if resources.runtime else "",
        "tmp": f"{-(-resources.disk // _MIB)}M" if resources.disk else "",
        "gres": f"gpu:{resources.gpus}" if resources.gpus else "",
    }
    return {name: value for name, value in given.items() if value}


def _extra(given: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in given.items():
        long = name.strip().lstrip("-").replace("_", "-")
        if long in RESERVED or not re.fullmatch(r"[a-z][a-z0-9-]+", long) or "\n" in value:
            msg = (
                f"The option {name} of sbatch cannot be set in section slurm of the profile: use the long name of an "
                f"option other than {', '.join(sorted(RESERVED))}, and a value of one line."
            )
            raise SubmissionError(msg)
        found[long] = value
    return found


def _pattern(submission: Submission) -> str:
    path = str(submission.output(0))
    if "\\" in path:  # Slurm would neither put in the number nor keep the backslash
        msg = f"Slurm cannot write to {path}, whose name has a backslash: choose another [job] job_file_dir."
        raise SubmissionError(msg)
    head, _, tail = path.rpartition("0")
    return f"{head.replace('%', '%%')}%a{tail}"


def _escape(value: str) -> str:
    if re.fullmatch(r"[\w%+,./:=@-]+", value):
        return value
    escaped = re.sub(r'([\\"])', r"\\\1", value)  # outside of quotes, Slurm takes no backslash before a space
    return f'"{escaped}"'


def _carried(submission: Submission) -> list[str]:
    files = {path.name: path for path in (*submission.inputs, submission.script)}
    end = f"END_{submission.token}"
    lines = [
        f'folder=$(mktemp -d "${{TMPDIR:-/tmp}}/job.XXXXXXXX") && cd "$folder" || exit {_NO_SCRATCH}',
        """trap 'cd / && rm -rf "$folder"' EXIT""",
        "trap : TERM INT HUP",  # the job gets the signal as well, and may need a moment to end
    ]
    for name, path in files.items():
        lines += [
            f"base64 -d > {shlex.quote(name)} <<'{end}' || exit {_NO_SCRATCH}",
            _encoded(path),
            end,
        ]
    return [*lines, f'bash {shlex.quote("./" + submission.script.name)} "$argument"', "exit $?"]


def _encoded(path: Path) -> str:
    return base64.encodebytes(path.read_bytes()).decode().rstrip("\n")
