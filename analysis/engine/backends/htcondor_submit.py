"""The text by which jobs are handed to HTCondor: pure functions.

HTCondor expands ``$(x)`` and functions such as ``$ENV(x)`` when it reads the text, and ``$$(x)`` when it has found a
machine. Every dollar sign of ours is therefore written as a macro that expands to one.

Source:
    HTCondor Manual, "condor_submit" (htcondor-jdl), and the ClassAd attributes of CERN's batch service
    (``JobFlavour``, ``MaxRuntime``), which other pools do not look at.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from analysis.engine.backends.base import Submission, SubmissionError
from analysis.engine.backends.htcondor_status import TOKEN
from analysis.engine.backends.resources import Resources

_ARGUMENT = re.compile(r"[\w:,.@%+=/-]+")
_DOLLARS = re.compile(r"\$+")


def description(
    submission: Submission,
    *,
    queue_attribute: str,
    runtime_attribute: str = "MaxRuntime",
    shared_filesystem: bool,
    extra: Mapping[str, str],
) -> str:
    """The submit description of one cluster, with a job per argument.

    Args:
        submission: what is submitted.
        queue_attribute: job attribute that takes ``Resources.queue``.
        runtime_attribute: job attribute that takes ``Resources.runtime``.
        shared_filesystem: whether jobs find the container image where it is here.
        extra: further lines by name; those of the submission's resources come after them, and the last one counts.

    Raises:
        SubmissionError: if something of it cannot be said in this language.
    """
    # beside initialdir: of a whole path HTCondor would cut off what follows a semicolon
    output = submission.output(0).name.replace("0", "$(Process)")
    lines = {
        "executable": _path(submission.script),
        "arguments": '"$(argument_$(Process))"',
        "environment": environment(submission.environment),
        "getenv": "False",
        "initialdir": _path(submission.folder),
        "output": output,
        "error": output,
        "log": "events.log",
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": _files(submission.inputs),
        "transfer_output_files": '""',
        "x509userproxy": _path(submission.proxy) if submission.proxy else "",
        "notification": "never",
        "batch_name": _literal(_DOLLARS.sub("$", " ".join(submission.name.split()))),
        f"My.{TOKEN}": _quoted(submission.token),
        **_requests(submission.resources, queue_attribute, runtime_attribute, shared_filesystem),
    }
    for name, value in [*extra.items(), *submission.resources.extra.items()]:
        _one_line(name + value)
        lines[name] = value
    # one macro per job, not "queue argument from": the Python bindings take minutes for a thousand of such items
    macros = {f"argument_{number}": _argument(text) for number, text in enumerate(submission.arguments)}
    text = "".join(f"{name} = {value}\n" for name, value in (macros | lines).items() if value)
    return f"{text}queue {len(submission.arguments)}\n"


def environment(variables: Mapping[str, str]) -> str:
    """Variables in the new syntax of HTCondor: ``"NAME=value 'OTHER=a value'"``.

    Raises:
        SubmissionError: if a value has a line break, or a text that HTCondor cannot be kept from expanding.
    """
    words = (_literal(f"{name}={value}").replace("'", "''").replace('"', '""') for name, value in variables.items())
    return f'''"{" ".join(f"'{word}'" for word in words)}"'''


def _requests(
    resources: Resources, queue_attribute: str, runtime_attribute: str, shared_filesystem: bool
) -> dict[str, str]:
    requests = {"request_cpus": str(resources.cores)}
    if resources.memory:
        requests["request_memory"] = str(-(-resources.memory // 2**20))  # MiB
    if resources.disk:
        requests["request_disk"] = str(-(-resources.disk // 2**10))  # KiB
    if resources.gpus:
        requests["request_gpus"] = str(resources.gpus)
    if resources.runtime:
        # not allowed_execute_duration: before HTCondor 24.0.19 it is ignored for jobs without input files
        requests["allowed_job_duration"] = str(resources.runtime)
        if runtime_attribute:
            requests[f"My.{runtime_attribute}"] = str(resources.runtime)
    if resources.queue and queue_attribute:
        requests[f"My.{queue_attribute}"] = _quoted(resources.queue)
    if resources.accounting_group:
        requests["accounting_group"] = _literal(resources.accounting_group)
    if resources.container:
        requests |= {"universe": "container", "container_image": _literal(resources.container)}
        if shared_filesystem or resources.container.startswith("/cvmfs/"):
            requests["transfer_container"] = "False"
    return requests


def _argument(text: str) -> str:
    if not _ARGUMENT.fullmatch(text):
        msg = f"HTCondor cannot be given the argument {text!r}: only letters, digits and :,.@%+=/_- are safe."
        raise SubmissionError(msg)
    return text


def _files(paths: Iterable[Path]) -> str:
    for path in (paths := list(paths)):
        if "," in str(path):
            msg = f"HTCondor cannot transfer {path}: its name has a comma, which separates names. Choose another one."
            raise SubmissionError(msg)
    return ", ".join(map(_path, paths))


def _path(path: Path) -> str:
    text = str(path.absolute())
    if "$$" in text:
        msg = f"HTCondor cannot use {text}: '$$' in a path cannot be quoted. Choose another [job] job_file_dir."
        raise SubmissionError(msg)
    return _literal(text)


def _literal(text: str) -> str:
    """The text with dollar signs that stay; pairs must not stand as two single ones, which make a match-time macro."""
    if "$(dollar)" in _one_line(text).lower():
        msg = f"HTCondor would expand '$(DOLLAR)' in {text!r}, whatever one does: remove it."
        raise SubmissionError(msg)
    return _DOLLARS.sub(lambda m: "$$(DOLLARDOLLAR)" * (len(m[0]) // 2) + "$(DOLLAR)" * (len(m[0]) % 2), text)


def _quoted(text: str) -> str:
    """A text as a ClassAd string."""
    inside = _literal(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inside}"'


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text or "\0" in text:
        msg = f"HTCondor cannot be given {text!r}: it has a line break."
        raise SubmissionError(msg)
    return text
