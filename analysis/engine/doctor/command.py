"""A program that says something, within a time."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

_LONGEST = 200


class Said(NamedTuple):
    """What a program said.

    Args:
        output: its standard output.
        problem: why it failed, in a few words; empty if it did not.
    """

    output: str
    problem: str


def run(command: Sequence[str], timeout: float, environment: Mapping[str, str] | None = None) -> Said:
    """Run a program that needs no input; what it started is gone when this returns.

    Args:
        command: program and arguments.
        timeout: seconds after which it is killed.
        environment: variables to add or replace.
    """
    try:
        process = subprocess.Popen(
            command,
            env={**os.environ, "LC_ALL": "C", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        return Said("", f"{command[0]}: {(error.strerror or str(error)).lower()}")
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Said("", f"no answer within {timeout:.0f} s")
    if process.returncode:
        words = " ".join((errors or output).split())[:_LONGEST]
        return Said(output, words or f"exit code {process.returncode}")
    return Said(output, "")
