"""``law`` that is killed at a certain moment: ``python -m tests.integration.batch_victim MOMENT run ...``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

MOMENTS = ("before reserve", "before submit", "after submit", "answered")
"""Before jobs are written down, before the scheduler is called, after it has answered, in the first poll."""


def die() -> None:
    """Kill this process and those that it belongs to, as a machine that loses its power."""
    os.killpg(0, signal.SIGKILL)


def arm(cls: Any, method: str, *, after: bool = False) -> None:
    """Let a call of a method be fatal, before or after its work is done."""
    original = getattr(cls, method)

    def fatal(*args: Any, **kwargs: Any) -> None:
        if after:
            original(*args, **kwargs)
        die()

    setattr(cls, method, fatal)


def main(moment: str) -> None:
    """Run ``law`` with the other arguments."""
    from law.cli.cli import run

    from analysis.engine.backends.htcondor import HTCondor
    from analysis.engine.backends.ledger import Ledger
    from analysis.engine.backends.slurm import Slurm

    when, method = moment.rpartition(" ")[::2]
    for cls in (Ledger,) if method != "submit" else (HTCondor, Slurm):
        arm(cls, method, after=when == "after")
    run()


if __name__ == "__main__":
    main(sys.argv.pop(1))
