"""Errors of the configuration, and the words to help out of them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ConfigurationError(Exception):
    """A campaign, data set, shift or variable is unknown or wrongly described."""


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> ConfigurationError:
    """Error for a name that does not exist, with the nearest names that do.

    Args:
        kind: what was looked for, as a word for the user.
        name: what the user wrote.
        known: all valid names.
        where: place of the mistake.

    Returns:
        The error, to be raised by the caller.

    Examples:
        >>> print(unknown("shift", "pt_scale", ["nominal", "pt_scale_up"]))
        unknown shift 'pt_scale': did you mean 'pt_scale_up'? Known are nominal, pt_scale_up
    """
    names = list(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    place = f" in {where}" if where else ""
    return ConfigurationError(f"unknown {kind} {name!r}{place}: {hint}Known are {', '.join(names) or '(none)'}")
