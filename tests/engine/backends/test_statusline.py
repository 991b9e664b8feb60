from __future__ import annotations

import time

import pytest

from analysis.engine.backends.statusline import show_duration, status_line

NOON = time.mktime((2024, 7, 1, 12, 45, 18, 0, 0, -1))


def test_line() -> None:
    counts = {"pending": 3, "running": 4, "finished": 19}
    before = {"pending": 5, "running": 3, "finished": 18}
    assert status_line(counts, before, 0.2, NOON) == (
        "12:45:18: all: 26, pending: 3 (-2), running: 4 (+1), finished: 19 (+1), retry: 0 (+0), failed: 0 (+0), "
        "12.0/min, 35 s left"
    )


def test_first_line_shows_all_as_new() -> None:
    assert status_line({"unsubmitted": 2}, None, None, NOON).startswith("12:45:18: all: 2, unsubmitted: 2 (+2), pend")


def test_rare_stages_are_shown_while_they_are_there_and_once_more() -> None:
    assert "held: 1 (+1)" in status_line({"held": 1}, {}, None, NOON)
    assert "held: 0 (-1)" in status_line({"running": 1}, {"held": 1}, None, NOON)
    line = status_line({"running": 1}, {"running": 1}, None, NOON)
    assert not any(stage in line for stage in ("held", "unknown", "unsubmitted"))


def test_end_is_not_expected_when_nothing_is_left_or_nothing_is_known() -> None:
    assert "left" not in status_line({"finished": 3, "failed": 1}, None, 1.0, NOON)
    assert "left" not in status_line({"running": 3}, None, None, NOON)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (99, "99 s"), (100, "2 min"), (720, "12 min"), (5940, "99 min"), (12000, "3 h 20 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text
