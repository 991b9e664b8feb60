"""``analysis credentials``: what is shown to storage and batch systems, for whom it is, and how long it lasts."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analysis.engine.storage.credentials import Credential

HELP = "show the proxy and the token that are used, never their secrets"

_PLACES = (
    "X509_USER_PROXY, /tmp/x509up_u{0}, X509_USER_CERT with X509_USER_KEY; BEARER_TOKEN, BEARER_TOKEN_FILE, "
    "$XDG_RUNTIME_DIR/bt_u{0}, /tmp/bt_u{0}"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--renew", action="store_true", help="call refresh_command of law.cfg, if something ends soon")


def run(arguments: argparse.Namespace) -> int:
    """Show what there is.

    Args:
        arguments: ``renew``.

    Returns:
        Exit code: 1 if there is nothing, or something has expired.

    Raises:
        AnalysisError: if something cannot be read, or can be read by others.
    """
    from analysis.engine.storage import refresh
    from analysis.engine.storage.credentials import credentials
    from analysis.engine.storage.masking import masked

    settings = refresh.credential_settings()
    if arguments.renew:
        refresh.keep_fresh(is_asked_for=True)
    found, now = list(credentials()), time.time()
    for credential in found:
        print(masked("\n".join(_lines(credential, now))))
    if not found:
        print(f"there is neither a proxy nor a token; looked for in {_PLACES.format(os.getuid())}", file=sys.stderr)
    if settings.refresh_command:
        from analysis.engine.backends.statusline import show_duration

        print(f"renewed {show_duration(settings.refresh_before)} before its end by: {masked(settings.refresh_command)}")
    return 0 if found and all(credential.is_valid(now) for credential in found) else 1


def _lines(credential: Credential, now: float) -> Iterator[str]:
    from analysis.engine.backends.statusline import show_duration
    from analysis.engine.storage.credentials import TOKEN

    yield credential.name + (f" ({credential.variable})" if credential.variable and credential.path else "")
    left = None if credential.expires is None else credential.expires - now
    if left is None:
        yield "  valid     it does not say how long"
    elif left > 0:
        end = time.strftime("%Y-%m-%d %H:%M", time.localtime(credential.expires))
        yield f"  valid     for {show_duration(left)}, until {end}"
    else:
        yield f"  EXPIRED   {show_duration(-left)} ago: {credential.renewal}"
    is_token = credential.kind == TOKEN
    for name, text in (
        ("subject", credential.subject),
        ("issuer", credential.issuer),
        ("audience", " ".join(credential.audience) or ("any" if is_token else "")),
        ("scope" if is_token else "roles", " ".join(credential.scope)),
    ):
        if text:
            yield f"  {name:<9} {text}"
