"""Runs that are killed anywhere, and runs side by side: where and in which order a test says."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import pytest

from analysis.engine.backends.ledger import Ledger
from tests.engine.backends.fake import Fake

WRITES = ("reserve", "submitted", "refused", "settle", "cancelled", "answered", "over", "forget")
CALLS = ("submit", "find", "query", "cancel")


def hooked(patch: pytest.MonkeyPatch, fake: Fake, hook: Callable[[], None]) -> None:
    """Call a hook before and after everything that changes the ledger or reaches the batch system."""

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            hook()
            found = function(*args, **kwargs)
            hook()
            return found

        return wrapper

    for name in WRITES:
        patch.setattr(Ledger, name, wrap(getattr(Ledger, name)))
    for name in CALLS:
        patch.setattr(fake, name, wrap(getattr(fake, name)))


class Turns:
    """Threads of which one runs at a time, and hands over where it is told to: in an order that a seed decides.

    Args:
        seed: of the order.
    """

    def __init__(self, seed: int) -> None:
        self._random, self._condition = random.Random(seed), threading.Condition()
        self._alive: list[int] = []
        self._current: int | None = None
        self.errors: list[BaseException] = []

    def switch(self) -> None:
        """Let another thread run, or none."""
        me = threading.get_ident()
        if me in self._alive and len(self._alive) > 1:
            with self._condition:
                self._current = self._random.choice(self._alive)
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._current == me)

    def is_alive(self, thread: int) -> bool:
        """Whether a thread is at work."""
        return thread in self._alive

    def run(self, *functions: Callable[[], None]) -> None:
        """Run functions side by side."""
        threads = [threading.Thread(target=self._run, args=(function,), daemon=True) for function in functions]
        with self._condition:
            for thread in threads:
                thread.start()
                assert thread.ident is not None
                self._alive.append(thread.ident)
            self._current = self._alive[0]
        for thread in threads:
            thread.join(60.0)
            assert not thread.is_alive()

    def _run(self, function: Callable[[], None]) -> None:
        me = threading.get_ident()
        with self._condition:
            self._condition.wait_for(lambda: self._current == me)
        try:
            function()
        except BaseException as error:
            self.errors.append(error)
        with self._condition:
            self._alive.remove(me)
            self._current = self._alive[0] if self._alive else None
            self._condition.notify_all()
