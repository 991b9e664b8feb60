"""The line that says how far the jobs of a workflow are, as users of law know it."""

from __future__ import annotations

import time
from collections.abc import Mapping

STAGES = ("unsubmitted", "pending", "running", "finished", "retry", "failed")
"""Stages of a branch; ``held`` and ``unknown`` are added where there are such."""
_RARE = ("held", "unknown", "unsubmitted")


def status_line(counts: Mapping[str, int], before: Mapping[str, int] | None, rate: float | None, now: float) -> str:
    """Numbers of branches by stage, throughput and expected end.

    Args:
        counts: branches by stage.
        before: the counts of the line before; ``None`` for the first one.
        rate: branches that end per second; ``None`` if that is not known yet.
        now: Unix time.

    Returns:
        Such as ``12:45:18: all: 26, pending: 3 (-2), running: 4 (+1), finished: 19 (+1), retry: 0 (+0),
        failed: 0 (+0), 12.3/min, 35 s left``.
    """
    parts = [f"all: {sum(counts.values())}"]
    for stage in (*STAGES, "held", "unknown"):
        number, change = counts.get(stage, 0), counts.get(stage, 0) - (before or {}).get(stage, 0)
        if number or change or stage not in _RARE:
            parts.append(f"{stage}: {number} ({change:+d})")
    left = sum(counts.values()) - counts.get("finished", 0) - counts.get("failed", 0)
    if rate and left:
        parts.append(f"{60 * rate:.1f}/min, {show_duration(left / rate)} left")
    return f"{time.strftime('%H:%M:%S', time.localtime(now))}: {', '.join(parts)}"


def show_duration(seconds: float) -> str:
    """Seconds in two units at most: ``35 s``, ``12 min``, ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
