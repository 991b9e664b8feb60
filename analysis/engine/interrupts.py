"""SIGTERM ends a run as Ctrl-C does: in order, and with a sentence about what goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType

_before_fork = threading.local()


@cache
def take_termination() -> None:
    """Let SIGTERM interrupt this process from now on, unless somebody handles it already.

    Processes that are forked from it end by it at once, as usual: luigi stops its own in this way.
    """
    if _may_handle() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)
        os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_give_back)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGINT and SIGTERM interrupt what is done here, and then ignore SIGTERM until it has ended in order.

    Both come when a terminal or a batch system ends all processes of a run, and one more from luigi.
    """
    if not _may_handle():
        yield
        return
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _hold() -> None:
    """Else a signal to a process that has just been forked would be lost between both ways to handle it."""
    _before_fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _let_go() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _before_fork.mask)


def _give_back() -> None:
    if signal.getsignal(signal.SIGTERM) is _interrupt:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _let_go()


def _may_handle() -> bool:
    """Only the main thread may have a handler."""
    return threading.current_thread() is threading.main_thread()
