"""Errors of the configuration, and the words to help out of them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from analysis.errors import AnalysisError


class ConfigurationError(AnalysisError):
    """A campaign, data set, shift or variable is unknown or wrongly described."""


def check_known(kind: str, name: str, known: Iterable[str], where: str = "") -> None:
    """Check that a name exists.

    Args:
        kind: what is looked for, as a word for the user.
        name: what the user wrote.
        known: all valid names.
        where: place of the mistake.

    Raises:
        ConfigurationError: if the name does not exist; the message has the nearest name that does.

    Examples:
        >>> check_known("shift", "up", ["nominal", "ups"])
        Traceback (most recent call last):
        ...
        analysis.config.errors.ConfigurationError: unknown shift 'up': did you mean 'ups'? Known are nominal, ups
    """
    names = list(known)
    if name in names:
        return
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    place = f" in {where}" if where else ""
    msg = f"unknown {kind} {name!r}{place}: {hint}Known are {', '.join(names) or '(none)'}"
    raise ConfigurationError(msg)
