"""What ``law.cfg`` says about stale outputs and expensive reruns."""

from __future__ import annotations

import math
from typing import Literal, get_args

import law

from analysis.engine.backends.settings import check_profile
from analysis.engine.errors import ParameterError

StalePolicy = Literal["rerun", "warn", "error"]


def stale_policy(family: str) -> StalePolicy:
    """What to do with stale outputs of a task family: section ``stale`` of ``law.cfg``.

    Raises:
        ParameterError: if the configuration says anything else than rerun, warn or error.
    """
    value = law.config.get_default("stale", family, law.config.get_default("stale", "default", "rerun"))
    for policy in get_args(StalePolicy):
        if value == policy:
            return policy  # type: ignore[no-any-return]
    msg = f"law.cfg, section stale: {value!r} for {family} is not one of {', '.join(get_args(StalePolicy))}"
    raise ParameterError(msg)


def check() -> None:
    """Look whether the section makes sense, be anything stale or not.

    Raises:
        ParameterError: if it does not.
    """
    for name in law.config.options("stale") if law.config.has_section("stale") else ():
        if name != "expensive_cpu_hours":
            stale_policy(name)
    expensive_hours()
    check_profile()


def expensive_hours() -> float:
    """CPU hours of outputs that are there already, above which a run asks first: ``expensive`` in ``law.cfg``.

    Raises:
        ParameterError: if the configuration does not give a number.
    """
    value = law.config.get_default("stale", "expensive_cpu_hours", "1")
    try:
        hours = float(value)
    except (TypeError, ValueError):
        hours = math.nan
    if not hours >= 0:
        msg = f"law.cfg, section stale: expensive_cpu_hours is {value!r}, but must be a number of hours"
        raise ParameterError(msg)
    return hours


def stale_is_used() -> bool:
    """Whether the stale outputs of any task family are used as they are."""
    return law.config.has_section("stale") and any(value == "warn" for _, value in law.config.items("stale"))
