"""Trying again: how long, and after which pauses."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import NamedTuple


class Clock(NamedTuple):
    """Time and chance, so that tests need neither.

    Args:
        now: monotonic time [s].
        sleep: waits for some seconds.
        random: uniform in [0, 1).
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


class Patience(NamedTuple):
    """How long something is tried again.

    Args:
        total: time after the first failure in which it is [s]; 0 for never.
        first: longest pause before the first repetition [s]; it doubles.
        longest: longest pause [s].
    """

    total: float = 120.0
    first: float = 5.0
    longest: float = 60.0


class Backoff:
    """The pauses between the attempts of one request.

    Each is drawn between a tenth of a limit and the limit, which doubles: thousands of jobs that lost their server at
    the same moment do not come back at the same moment.

    Args:
        patience: how long it goes on.
        clock: tells the time.
    """

    def __init__(self, patience: Patience, clock: Clock) -> None:
        self._patience, self._clock = patience, clock
        self._limit = patience.first
        self._began: float | None = None

    @property
    def waited(self) -> float:
        """Time since the first failure [s]."""
        return 0.0 if self._began is None else self._clock.now() - self._began

    def pause(self) -> bool:
        """Wait before the next attempt; the last one is at the end of the patience.

        Returns:
            Whether there is a next attempt.
        """
        if self._began is None:
            self._began = self._clock.now()
        left = self._patience.total - self.waited
        if left <= 0:
            return False
        drawn = self._limit * (0.1 + 0.9 * self._clock.random())
        self._limit = min(2 * self._limit, self._patience.longest)
        self._clock.sleep(min(drawn, left))
        return True
