from __future__ import annotations

import os
import subprocess
import time

import pytest

from analysis.engine import process as module


def test_start_of_a_process_as_ps_says_it() -> None:
    state = module._process(os.getpid())
    assert state is not None
    assert not state[0]
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - state[1] / os.sysconf("SC_CLK_TCK")
    seconds = subprocess.run(
        ["ps", "-o", "etimes=", "-p", str(os.getpid())], capture_output=True, text=True, check=True
    ).stdout
    assert int(seconds) == pytest.approx(age, abs=2)
