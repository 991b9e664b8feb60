"""Stand-ins for the commands of a batch system, first on the PATH: they call the real one, and write down when."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

SUBMIT = {"htcondor": "condor_submit", "slurm": "sbatch"}
QUERY = {"htcondor": ("condor_q", "condor_history"), "slurm": ("squeue", "sacct")}

_COMMAND = """#!/usr/bin/env bash
begin=${{EPOCHREALTIME}}
{real} "$@"
code=$?
printf '%s %s %s\\n' {name} "${{begin}}" "${{EPOCHREALTIME}}" >> {log}
exit "${{code}}"
"""


class Call(NamedTuple):
    """A call of a command.

    Args:
        name: such as ``condor_q``.
        begin: Unix time.
        end: Unix time.
    """

    name: str
    begin: float
    end: float


class CountedClients:
    """Directory of stand-ins.

    Args:
        folder: where they are written; the log, which users of them have to be able to write, as well.
        system: ``htcondor`` or ``slurm``.
        programs: directory of the real commands.
    """

    def __init__(self, folder: Path, system: str, programs: Path) -> None:
        self.folder, self._log = folder / "bin", folder / "calls.txt"
        self.folder.mkdir()
        self._log.touch()
        self._log.chmod(0o666)
        for name in (SUBMIT[system], *QUERY[system]):
            path = self.folder / name
            path.write_text(_COMMAND.format(real=programs / name, name=name, log=self._log))
            path.chmod(0o755)

    def take(self) -> list[Call]:
        """The calls since the last time, in the order of their ends."""
        rows = [line.split() for line in self._log.read_text().splitlines()]
        self._log.write_text("")
        return [Call(name, float(begin), float(end)) for name, begin, end in rows]


def rounds(calls: list[Call], gap: float) -> list[list[Call]]:
    """Calls that belong together: between two groups is a break.

    Args:
        calls: the calls.
        gap: length of the break [s].

    Examples:
        >>> found = rounds([Call("q", 0, 0.1), Call("q", 0.2, 0.3), Call("q", 1.3, 1.4)], gap=0.5)
        >>> [len(group) for group in found]
        [2, 1]
    """
    groups: list[list[Call]] = []
    for call in sorted(calls, key=lambda call: call.begin):
        if groups and call.begin - max(c.end for c in groups[-1]) < gap:
            groups[-1].append(call)
        else:
            groups.append([call])
    return groups
