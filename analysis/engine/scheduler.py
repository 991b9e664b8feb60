"""Which scheduler a run reports to."""

from __future__ import annotations

from collections.abc import Sequence

import luigi

_REMOTE = ("--scheduler-host", "--scheduler-port", "--scheduler-url")
_LOCAL = "--local-scheduler"


def prefer_named_scheduler(arguments: Sequence[str]) -> bool:
    """Let ``law run X --scheduler-host HOST`` report to that scheduler.

    The configuration chooses the scheduler inside the process, so that a run needs no server; luigi would keep to it
    even if a host is given.

    Args:
        arguments: the command line.

    Returns:
        Whether a scheduler was named, and the configuration changed for this process.
    """
    names = {argument.split("=", 1)[0] for argument in arguments}
    named = not names.isdisjoint(_REMOTE) and _LOCAL not in names
    if named:
        luigi.configuration.get_config().set("core", "local_scheduler", "False")
    return named
