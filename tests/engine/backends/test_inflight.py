from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analysis.engine.backends.base import BackendError, SubmissionError
from analysis.engine.backends.inflight import LOCK, in_flight, wait_until_landed

SUBMITTER = """
import subprocess, sys
from pathlib import Path
from analysis.engine.backends.inflight import in_flight
with in_flight(Path(sys.argv[1])) as descriptor:
    subprocess.run(["bash", "-c", "echo submitting; read line"], pass_fds=(descriptor,))
"""


def test_nothing_in_flight(tmp_path: Path) -> None:
    assert wait_until_landed(tmp_path, 0)
    assert wait_until_landed(tmp_path, 0)
    assert wait_until_landed(tmp_path / "gone", 0)


def test_lock_is_held_and_given_back(tmp_path: Path) -> None:
    with in_flight(tmp_path):
        assert not wait_until_landed(tmp_path, 0)
    with in_flight(tmp_path):  # a submission that was refused for now is tried again
        pass
    assert wait_until_landed(tmp_path, 0)


def test_what_landed_does_not_start_again(tmp_path: Path) -> None:
    assert wait_until_landed(tmp_path, 0)
    with pytest.raises(SubmissionError, match="given up"), in_flight(tmp_path):
        pass


def test_lock_outlives_a_killed_caller(tmp_path: Path) -> None:
    caller = subprocess.Popen(
        [sys.executable, "-c", SUBMITTER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert caller.stdin is not None
    assert caller.stdout is not None
    with caller.stdin, caller.stdout:
        assert caller.stdout.readline() == b"submitting\n"
        caller.kill()
        caller.wait()
        assert not wait_until_landed(tmp_path, 0.1)  # condor_submit goes on
        caller.stdin.write(b"\n")
        caller.stdin.flush()
        assert wait_until_landed(tmp_path, 60)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / LOCK).mkdir()
    with pytest.raises(BackendError, match=r"choose another \[job\] job_file_dir"):
        wait_until_landed(tmp_path, 0)
