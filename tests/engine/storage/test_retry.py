from __future__ import annotations

import pytest

from analysis.engine.storage.retry import Backoff, Clock, Patience
from tests.engine.storage.fake import Time


def _pauses(patience: Patience, random: float) -> list[float]:
    time = Time()
    backoff = Backoff(patience, time.clock(lambda: random))
    while backoff.pause():
        pass
    return time.pauses


def test_pauses_double_up_to_the_longest_and_end_with_the_patience() -> None:
    assert _pauses(Patience(100, 2, 16), 1.0) == [2, 4, 8, 16, 16, 16, 16, 16, 6]  # 100 in all; the last is cut


def test_pauses_are_between_a_tenth_and_all_of_their_limit() -> None:
    assert _pauses(Patience(10, 5, 60), 0.0)[:3] == pytest.approx([0.5, 1.0, 2.0])
    assert _pauses(Patience(1000, 5, 60), 0.5)[:3] == pytest.approx([2.75, 5.5, 11.0])


@pytest.mark.parametrize("random", [0.0, 0.3, 0.999])
def test_the_sum_of_all_pauses_is_the_patience(random: float) -> None:
    assert sum(_pauses(Patience(120, 5, 60), random)) == pytest.approx(120)


def test_no_patience_is_no_second_attempt() -> None:
    assert _pauses(Patience(0, 5, 60), 0.5) == []


def test_time_of_the_attempts_counts() -> None:
    time = Time()
    backoff = Backoff(Patience(60, 5, 60), time.clock())
    assert backoff.waited == 0
    assert backoff.pause()
    time.now += 70  # the second attempt hangs
    assert backoff.waited == pytest.approx(72.75)
    assert not backoff.pause()


def test_the_real_clock_goes_on() -> None:
    clock = Clock()
    assert clock.now() <= clock.now()
    assert 0 <= clock.random() < 1
