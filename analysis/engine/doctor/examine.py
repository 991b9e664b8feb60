"""Run checks: all at the same time, each for a limited time, none of them able to stop the others."""

from __future__ import annotations

import configparser
import functools
import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from analysis.engine.doctor.finding import Finding, Report, red
from analysis.errors import AnalysisError

_WITHOUT_SETTINGS = ("python", "machine")
_FAREWELL = 10.0
"""Seconds that checks get to clean up after Ctrl-C."""


class Check(NamedTuple):
    """Something to look at.

    Args:
        name: of its finding, if it has no answer.
        look: looks.
        limit: seconds after which it counts as failed; what it does itself ends earlier.
        advice: what to do if it has no answer by then.
    """

    name: str
    look: Callable[[], Iterable[Finding]]
    limit: float = 20.0
    advice: str = "see whether that file system or server hangs, and run the doctor again"


@dataclass
class _Run:
    """A check at work."""

    check: Check
    found: list[Finding] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """In a thread that does not hold up the end of the process."""
        threading.Thread(target=self._look, name=f"doctor {self.check.name}", daemon=True).start()

    def _look(self) -> None:
        try:
            self.found = list(self.check.look())
        except AnalysisError as error:
            self.found = [_of_error(self.check.name, error)]
        except Exception as error:
            found = f"the check itself failed ({type(error).__name__}: {error})"
            self.found = [red(self.check.name, found, "report this to those who maintain the project")]
        finally:
            self.done.set()


def examine(groups: Sequence[str] = ()) -> Report:
    """Look at this machine.

    Args:
        groups: names of :func:`all_groups`; none for all.
    """
    known, began = all_groups(), time.monotonic()
    chosen = [name for name in known if not groups or name in groups]
    if problem := _unreadable():
        checks = [Check("law.cfg", lambda: [problem])]
        chosen = [name for name in chosen if name in _WITHOUT_SETTINGS]
    else:
        checks = []
    checks += [check for name in chosen for check in _checks(name, known[name])]
    with _quiet():
        found = tuple(run(checks))
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(socket.gethostname(), _user(), now, round(time.monotonic() - began, 2), found)


def all_groups() -> Mapping[str, Callable[[], Sequence[Check]]]:
    """What makes the checks of each group, in the order of the table."""
    from analysis.engine.doctor import (
        batch,
        configuration,
        containers,
        interpreter,
        libraries,
        luigid,
        machine,
        proxies,
        roundtrip,
    )

    return {
        "python": interpreter.checks,
        "config": configuration.checks,
        "machine": machine.checks,
        "disk": machine.disk_checks,
        "sandboxes": containers.checks,
        "libraries": libraries.checks,
        "credentials": proxies.checks,
        "storage": roundtrip.checks,
        "htcondor": batch.htcondor_checks,
        "slurm": batch.slurm_checks,
        "luigid": luigid.checks,
    }


def run(checks: Iterable[Check]) -> Iterator[Finding]:
    """Findings of checks, in their order.

    Args:
        checks: all begin at the same time.
    """
    runs = [_Run(check) for check in checks]
    began = time.monotonic()
    for one in runs:
        one.start()
    try:
        for one in runs:
            one.done.wait(max(0.0, began + one.check.limit - time.monotonic()))
            yield from map(_masked, one.found if one.done.is_set() else [_late(one.check)])
    except BaseException:
        end = time.monotonic() + _FAREWELL
        for one in runs:  # each ends soon by itself, and what it made is gone then
            one.done.wait(max(0.0, end - time.monotonic()))
        raise


def _unreadable() -> Finding | None:
    """Why ``law.cfg`` cannot be read at all; law does that when it is imported, once, and not in several threads."""
    try:
        import law  # noqa: F401
    except configparser.Error as error:
        advice = "correct that line: nothing else can be looked at, or run, before"
        return red("law.cfg", str(error), advice)
    return None


def _checks(group: str, make: Callable[[], Sequence[Check]]) -> Sequence[Check]:
    """Those of a group; which ones there are may depend on settings that make no sense."""
    try:
        return make()
    except AnalysisError as error:
        return [Check(group, functools.partial(list, [_of_error(group, error)]))]


def _late(check: Check) -> Finding:
    return red(check.name, f"no answer within {check.limit:.0f} s", check.advice)


def _of_error(name: str, error: AnalysisError) -> Finding:
    """An error says what is wrong, and behind its last colon what to do."""
    found, _, advice = str(error).rpartition(": ")
    return red(name, found or str(error), advice if found else "mend that, and run the doctor again")


def _masked(finding: Finding) -> Finding:
    from analysis.engine.storage.masking import masked

    return replace(finding, found=_line(masked(finding.found)), advice=_line(masked(finding.advice)))


def _line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def _quiet() -> Iterator[None]:
    """What fails is in the table; the messages of a run about the same would stand between its lines."""
    import logging

    logger = logging.getLogger("analysis.engine.storage")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def _user() -> str:
    with suppress(KeyError, OSError):  # a user without an entry, as in a container
        return getpass.getuser()
    return str(os.getuid())
