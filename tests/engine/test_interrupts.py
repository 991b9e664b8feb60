"""What SIGTERM does to a process, and to those that it forks."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROCESS = """
import os, signal, sys, time
from analysis.engine import interrupts

def end(pid, *numbers):
    for number in numbers:
        os.kill(pid, number)

{code}
"""
BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)


def said(code: str) -> tuple[int, list[str]]:
    """Exit code of a process, and the lines that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.format(code=code)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.splitlines()


def test_interrupts_the_process_that_asked_for_it() -> None:
    code = """
interrupts.take_termination()
try:
    end(os.getpid(), signal.SIGTERM)
except KeyboardInterrupt:
    print("in order", flush=True)
    end(os.getpid(), signal.SIGTERM)  # by now it knows
    print("to the end", flush=True)
"""
    assert said(code) == (0, ["in order", "to the end"])


def test_ends_what_is_forked() -> None:
    """Without a traceback, which luigi would print."""
    code = """
interrupts.take_termination()
pid = os.fork()
if pid == 0:
    time.sleep(60)
    os._exit(0)
end(pid, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert said(code) == (0, [str(-signal.SIGTERM)])


def test_leaves_handlers_of_others_alone() -> None:
    code = """
signal.signal(signal.SIGTERM, lambda *_: print("theirs", flush=True))
interrupts.take_termination()
end(os.getpid(), signal.SIGTERM)
"""
    assert said(code) == (0, ["theirs"])


@BOTH
def test_words_are_said_whatever_follows(number: signal.Signals) -> None:
    """In a process that luigi forked as well."""
    code = f"""
interrupts.take_termination()
pid = os.fork()
if pid == 0:
    with interrupts.interruptible():
        try:
            end(os.getpid(), {number})
        except KeyboardInterrupt:
            end(os.getpid(), signal.SIGTERM)
            print("jobs run on", flush=True)
            os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
    assert said(code) == (0, ["jobs run on", "7"])


def test_what_was_before_comes_back() -> None:
    code = """
with interrupts.interruptible():
    pass
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""
    assert said(code) == (0, ["True True"])


def test_a_thread_may_not_handle_signals() -> None:
    code = """
import threading

def run():
    interrupts.take_termination()
    with interrupts.interruptible():
        print("goes on", flush=True)

thread = threading.Thread(target=run)
thread.start()
thread.join()
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
"""
    assert said(code) == (0, ["goes on", "True"])
