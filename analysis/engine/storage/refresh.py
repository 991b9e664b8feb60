"""Credentials that outlast a run: renewed in time by a command of the user, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from analysis.engine.backends.resources import parse_time
from analysis.engine.backends.settings import jobs_folder, section
from analysis.engine.backends.statusline import show_duration
from analysis.engine.storage.credentials import Credential, CredentialError, check_credential, credentials
from analysis.engine.storage.masking import masked
from analysis.engine.terminal import say

_TIMEOUT = 120.0
_PAUSE = 60.0
"""Seconds between two calls of the command, at least; half of the time that is left, else."""

_RENEWED_ELSEWHERE = {"ANALYSIS_JOB_TOKEN", "ANALYSIS_CREDENTIALS_GIVEN"}
"""Variables of jobs, and of sandboxes."""

_told: set[str] = set()
_seen: tuple[object, ...] | None = None


@dataclass(frozen=True)
class CredentialSettings:
    """Section ``credentials`` of the configuration.

    Args:
        refresh_command: renews the credential where it lies, without asking anything; a line for a shell.
        refresh_before: seconds before its end at which that happens.
        minimum_lifetime: seconds that a credential has to be valid for jobs to be submitted.
    """

    refresh_command: str = ""
    refresh_before: int = 3600
    minimum_lifetime: int = 300


def credential_settings() -> CredentialSettings:
    """The settings.

    Raises:
        ParameterError: for a name that does not exist, or a value that makes no sense.
    """
    times = dict.fromkeys(("refresh_before", "minimum_lifetime"), parse_time)
    return CredentialSettings(**section("credentials", CredentialSettings, times))


def ready(runtime: int, *, is_renewed: Mapping[str, bool]) -> list[str]:
    """Look at what jobs will be given, before they are submitted; renew it if needed.

    Args:
        runtime: of a job [s]; zero if there is no limit.
        is_renewed: whether a job that runs notices that a credential of a kind was renewed here.

    Returns:
        Warnings about what may end before a job does.

    Raises:
        CredentialError: if something is of no use; what no variable names and has expired is left out.
    """
    settings, now = credential_settings(), time.time()
    keep_fresh(is_asked_for=True)
    warnings = []
    for credential in credentials():
        if not credential.variable and not credential.is_valid(now):
            continue
        warning = check_credential(credential, runtime, now)
        if credential.expires is not None and credential.expires - now < settings.minimum_lifetime:
            msg = (
                f"{credential.name} is valid for {show_duration(credential.expires - now)} only, and jobs are not "
                f"submitted with less than {show_duration(settings.minimum_lifetime)} (minimum_lifetime in section "
                f"credentials of law.cfg): {credential.renewal}"
            )
            raise CredentialError(msg)
        if warning and not (settings.refresh_command and is_renewed.get(credential.kind)):
            warnings.append(warning)
    return warnings


def keep_fresh(*, is_asked_for: bool = False) -> bool:
    """Have what is about to expire renewed, by the command of the configuration; cheap if there is nothing to do.

    What goes wrong is said once, on standard error. In a batch job or a container nothing is renewed: that is done
    where it was submitted, or started.

    Args:
        is_asked_for: renew it though that did not work a moment ago.

    Returns:
        Whether something else is shown to servers now than at the last call.
    """
    global _seen
    settings = credential_settings()
    problem = _problem(settings)
    if problem and not settings.refresh_command:
        if problem.found:
            _tell(f"{problem}: {problem.found.renewal}, or set refresh_command in section credentials of law.cfg")
    elif problem and not _RENEWED_ELSEWHERE & os.environ.keys():
        with _alone() as last:
            problem = _problem(settings)  # another process may have done it meanwhile
            if problem and (is_asked_for or time.time() >= problem.next_try(float(last.read_text() or 0))):
                last.write_text(f"{time.time():.0f}")
                _renew(settings)
    before, _seen = _seen, _fingerprint()
    return before is not None and before != _seen


class _Problem:
    """Why something has to be renewed.

    Args:
        sentence: says so.
        found: what; ``None`` if there is nothing, or nothing that can be read.
    """

    def __init__(self, sentence: str, found: Credential | None = None) -> None:
        self._sentence, self.found = sentence, found

    def __str__(self) -> str:
        return self._sentence

    def next_try(self, last: float) -> float:
        """When the command is called the next time, after it was of no use."""
        expires = (self.found.expires if self.found else None) or last
        return last + max(_PAUSE, (expires - last) / 2)


def _problem(settings: CredentialSettings) -> _Problem | None:
    try:
        found = list(credentials())
    except CredentialError as error:
        return _Problem(str(error))
    if not found and settings.refresh_command:
        return _Problem("there is neither a proxy nor a token")
    now = time.time()
    for one in found:
        left = settings.refresh_before + 1.0 if one.expires is None else one.expires - now
        is_leftover = left <= 0 and not one.variable and (not settings.refresh_command or len(found) > 1)
        if left < settings.refresh_before and not is_leftover:
            how = f"is valid for {show_duration(left)} only" if left > 0 else f"expired {show_duration(-left)} ago"
            return _Problem(f"{one.name} {how}", one)
    return None


def _renew(settings: CredentialSettings) -> None:
    what = f"refresh_command in section credentials of law.cfg ({settings.refresh_command})"
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", settings.refresh_command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
            start_new_session=True,  # it has no terminal to ask for a password on
        )
    except subprocess.TimeoutExpired:
        failure = f"{what} took more than {_TIMEOUT:.0f} s: does it ask for a password?"
    else:
        lines = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        said = f": {lines[-1][:200]}" if lines else ""
        failure = f"{what} failed with exit code {done.returncode}{said}" if done.returncode else ""
    left = _problem(settings)
    if failure:
        _tell(f"{failure}{f'; {left}' if left else ''}")
    elif left and left.found and not left.found.path:
        _tell(f"{left}; no command can renew a variable: unset {left.found.variable}, or set BEARER_TOKEN_FILE instead")
    elif left and not (left.found and left.found.is_valid(time.time())):  # a site may give less than is asked for
        _tell(f"{what} ended well, but {left}: does it write to another file?")
    else:
        _told.clear()


@contextmanager
def _alone() -> Iterator[Path]:
    """Wait until no other process renews anything; the file has the time of the last attempt."""
    folder = jobs_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "credentials.lock"
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def _fingerprint() -> tuple[object, ...]:
    try:
        return tuple((one.name, one.expires, _changed(one.path)) for one in credentials())
    except CredentialError as error:
        return (str(error),)


def _changed(path: Path | None) -> object:
    found = path.stat() if path else None
    return (found.st_mtime_ns, found.st_ino, found.st_size) if found else None


def _tell(sentence: str) -> None:
    """Say something once; what was said about the same with another time left is the same."""
    key = " ".join(word for word in sentence.split() if not word.isdigit() and word not in {"s", "min", "h"})
    if key not in _told:
        _told.add(key)
        say(f"credentials: {masked(sentence)}")
