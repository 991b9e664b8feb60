"""The command ``analysis``: what ``law`` has no subcommand for. A module of this package is a subcommand."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from analysis.console import cache, cp, credentials, doctor, gc, history, jobs, logs, ls, rm
from analysis.errors import AnalysisError

COMMANDS = {
    "history": history,
    "logs": logs,
    "jobs": jobs,
    "gc": gc,
    "credentials": credentials,
    "ls": ls,
    "cp": cp,
    "rm": rm,
    "cache": cache,
    "doctor": doctor,
}
"""Each has ``HELP``, ``add_arguments(parser)`` and ``run(arguments)``, which returns the exit code."""

_SIGPIPE = 141
"""Exit code of a program whose reader has gone, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand.

    Args:
        argv: words of the command line; ``None`` for those of the process.

    Returns:
        Exit code: 0 if all is well, 1 for an error of the user's, 2 for a wrong command line.
    """
    parser = argparse.ArgumentParser(
        prog="analysis", description="What 'law' has no subcommand for.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, help=command.HELP, description=command.HELP, allow_abbrev=False)
        command.add_arguments(own)
        own.set_defaults(run=command.run, usage_error=own.error)
    arguments, parameters = parser.parse_known_args(argv)
    if parameters and "task" not in arguments:
        arguments.usage_error(f"unrecognized arguments: {' '.join(parameters)}")
    arguments.parameters = parameters
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # who read this, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _SIGPIPE
    except AnalysisError as error:
        from analysis.console.tasks import UnknownTaskError
        from analysis.engine.storage.masking import masked

        print(masked(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 2 if isinstance(error, UnknownTaskError) else 1
    return code
