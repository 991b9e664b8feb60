"""Proxies and tokens: found, readable for their owner alone, and for how long they are valid."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red, yellow

if TYPE_CHECKING:
    from analysis.engine.storage.credentials import Credential
    from analysis.engine.storage.refresh import CredentialSettings


def checks() -> Sequence[Check]:
    """All that is shown to servers."""
    return [Check("credentials", look)]


def look() -> Iterator[Finding]:
    """Each of what is found; what is of no use in itself raises, and says what to do."""
    from analysis.engine.storage.credentials import credentials
    from analysis.engine.storage.refresh import credential_settings

    settings, now, found = credential_settings(), time.time(), 0
    for credential in credentials():
        found += 1
        yield finding(credential, settings, now)
    if not found:
        advice = "if servers ask who you are, make one with voms-proxy-init or htgettoken (docs/credentials.md)"
        yield grey("credentials", "there is neither a proxy nor a token", advice)


def finding(credential: Credential, settings: CredentialSettings, now: float) -> Finding:
    """How long a credential is valid.

    Args:
        credential: what there is.
        settings: how long it should be.
        now: Unix time.
    """
    from analysis.engine.backends.statusline import show_duration

    name, where = credential.kind, credential.name
    if credential.expires is None:
        return green(name, f"{where}, does not say how long it is valid")
    left = credential.expires - now
    if left <= 0:
        found = f"{where} expired {show_duration(-left)} ago"
        if credential.variable:
            return red(name, found, credential.renewal)
        return yellow(name, found, f"{credential.renewal}, or remove the file: no variable names it")
    found = f"{where}, valid for {show_duration(left)}"
    if left < settings.minimum_lifetime:
        least = show_duration(settings.minimum_lifetime)
        return red(name, found, f"{credential.renewal}: no jobs are submitted with less than {least}")
    if left < settings.refresh_before and not settings.refresh_command:
        return yellow(name, found, f"{credential.renewal}, or set refresh_command in section credentials of law.cfg")
    return green(name, found)
