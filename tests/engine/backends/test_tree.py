from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.engine.backends import tree
from analysis.engine.process import is_running

GROUPS = """12:memory:/slurm/uid_0/job_7
11:cpu,cpuacct:/
1:name=systemd:/
0::/system.slice/condor.scope
"""


def test_counters_of_both_kinds_of_control_groups() -> None:
    assert tree.oom_files(GROUPS) == [
        Path("/sys/fs/cgroup/memory/slurm/uid_0/job_7/memory.oom_control"),
        Path("/sys/fs/cgroup/system.slice/condor.scope/memory.events"),
    ]
    assert tree.oom_kills() >= 0


CHILD = "import subprocess, sys; subprocess.run(['cat']); sys.exit()"


@pytest.mark.parametrize("listed", [True, False])
def test_descendants_with_their_memory(monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    if not listed:
        monkeypatch.setattr(tree, "_LISTED", Path("/nowhere"))
    command = [
        sys.executable,
        "-c",
        "import sys; print(len(bytes(1)), flush=True); kept = bytearray(50_000_000);"
        "import subprocess; print(1, flush=True); subprocess.run(['cat'])",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        child.stdout.readline()
        child.stdin.write("cat is there\n")
        child.stdin.flush()
        assert [child.stdout.readline() for _ in range(2)] == ["1\n", "cat is there\n"]
        found = tree.descendants(os.getpid())
        assert child.pid in found
        assert len(tree.descendants(child.pid)) == 1
        assert set(tree.descendants(child.pid)) < set(found)
        alone = tree.memory_of([child.pid])
        assert 50_000_000 < alone < tree.memory_of([child.pid, *tree.descendants(child.pid)])
        child.stdin.close()
    assert tree.memory_of([child.pid]) == 0
    assert tree.descendants(child.pid) == []


SUPERVISOR = """
import subprocess
from analysis.engine.backends import tree
tree.adopt_orphans()
done = subprocess.run(["sh", "-c", "setsid sleep 600 >&- & echo $!"], stdout=subprocess.PIPE, text=True)
print(done.stdout)
tree.kill_descendants()
tree.kill_descendants()
"""


def test_orphans_are_killed_too() -> None:
    done = subprocess.run([sys.executable, "-c", SUPERVISOR], capture_output=True, text=True, check=True, timeout=60)
    assert not is_running(int(done.stdout))


def test_peak_of_memory_can_be_forgotten() -> None:
    code = (
        "import resource; from analysis.engine.backends import tree\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "kept = bytearray(200_000_000); del kept; before = peak(); tree.forget_peak_memory(); print(before, peak())"
    )
    # by way of a shell: the peak of a new process is at first that of the one that forks it, which may be large here
    line = ["sh", "-c", '"$0" -c "$1"; exit $?', sys.executable, code]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 195_000
    assert after < 100_000


def test_processes_that_work_for_a_job(tmp_path: Path) -> None:
    """Of any parent, with those below them."""
    (tmp_path / "job").mkdir()
    script = "sleep 600 & echo $!; wait"
    with subprocess.Popen(["sh", "-c", script, str(tmp_path / "job" / "x")], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        child = int(one.stdout.readline())
        try:
            assert set(tree.working_for(tmp_path / "job")) == {one.pid, child}
            assert tree.working_for(tmp_path / "jo") == []
        finally:
            for pid in (child, one.pid):
                os.kill(pid, signal.SIGKILL)
