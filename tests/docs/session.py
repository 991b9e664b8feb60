"""Sessions that a page shows: commands, what they print, and edits in between, to be done again."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from tests.chain import REPOSITORY, Law

ELLIPSIS = "..."
HOST = "laptop"
"""Name of the machine on which pages run their commands."""


class Copy(NamedTuple):
    """A repository of its own, for the commands of a page.

    Args:
        path: of it.
        variables: with which its commands are found.
    """

    path: Path
    variables: dict[str, str]

    @classmethod
    def make(cls, folder: Path, *commands: str) -> Copy:
        """One below a folder, with modules as commands."""
        path, programs = folder / "repository", folder / "bin"
        law = Law(path / "data" / "store", path / ".law")
        for place in (law.store, law.home, programs):
            place.mkdir(parents=True)
        for name in ("analysis", "sandboxes", "profiles", "law.cfg"):
            (path / name).symlink_to(REPOSITORY / name)
        for command in commands:
            launcher = programs / command
            launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m {command} "$@"\n')
            launcher.chmod(0o755)
        variables = law.environment()
        return cls(path, {**variables, "PATH": f"{programs}{os.pathsep}{variables['PATH']}"})


class Step(NamedTuple):
    """A command with what it prints, or an edit.

    Args:
        command: the command line; empty for an edit.
        printed: lines that the page shows.
        before: lines that the edit removes.
        after: lines that it writes in their place.
    """

    command: str
    printed: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def steps(text: str) -> Iterator[Step]:
    """Indented commands that begin with ``$``, and fenced blocks of ``diff``, in the order of the page.

    What a command prints ends where the indented text ends, or at the next command.
    """
    command, printed = "", list[str]()
    lines = iter([*text.splitlines(), "end"])
    for line in lines:
        if command and (line.startswith("    $ ") or (line and not line.startswith("    "))):
            yield Step(command, tuple("\n".join(printed).rstrip().splitlines()))
            command, printed = "", []
        if line.startswith("    $ "):
            command = line[6:]
        elif line == "```diff":
            block = list(takewhile(lambda line: line != "```", lines))
            before, after = (tuple(line[1:] for line in block if line.startswith(sign)) for sign in "-+")
            yield Step("", (), before, after)
        elif command:
            printed.append(line[4:])


def edit(repository: Path, step: Step) -> None:
    """Do an edit: the lines it removes have to be in one place of the package."""
    before, after = ("\n".join(lines) + "\n" for lines in (step.before, step.after))
    found = [path for path in (repository / "analysis").rglob("*.py") if before in path.read_text()]
    assert len(found) == 1, (before, found)
    text = found[0].read_text()
    assert text.count(before) == 1
    found[0].write_text(text.replace(before, after))


def run(command: str, environment: Mapping[str, str], folder: Path) -> list[str]:
    """What a command prints, errors included."""
    finished = subprocess.run(
        ["bash", "-c", command],
        env=dict(environment),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    host = re.escape(socket.gethostname())
    printed = re.sub(rf"(?<=  ){host}(?=  )", HOST, finished.stdout)
    return [line.rstrip() for line in printed.rstrip().splitlines()]


def same(shown: str) -> str:
    """A line without what is different in each run: times, sizes, hosts, commits, widths of columns."""
    line = re.sub(r"-{3,}", "---", " ".join(shown.split()))
    line = re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b", "TIME", line)
    line = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", "TIME", line)
    line = re.sub(r"\b[\d.]+ (ms|s|min|h)\b", "SECONDS", line)
    line = re.sub(r"(?<=_seconds\": )[\d.]+", "SECONDS", line)
    line = re.sub(r"(?<=\"size\": )\d+", "SIZE", line)
    line = re.sub(r"(?<!\S)\S*(?=/data/store)", "", line)
    line = re.sub(r"\b[\d.]+(e-\d+)? CPU hours\b", "HOURS", line)
    line = re.sub(r"\b[\d.]+ (B|kB|MB|GB)\b", "SIZE", line)
    line = re.sub(r"\b([0-9a-f]{8,20}|[0-9a-f]{6}-[0-9a-f]{6}|unknown)\b\+?", "HASH", line)
    line = re.sub(r"(?<=: list )(\S+?)(/manifests)?:(?= )", r"\1:", line)  # two folders are listed at the same time
    return re.sub(r"\b[\w-]+@[\w.-]+", "WHO", line)


def agrees(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Whether a command printed what the page shows, where ``...`` stands for any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == ELLIPSIS else re.escape(same(line)) + r"\n" for line in shown if line.strip()
    )
    return re.fullmatch(pattern, "".join(same(line) + "\n" for line in printed if line.strip())) is not None
