"""The backend and a real Slurm."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest

from analysis.engine.backends import slurm as module
from analysis.engine.backends.base import (
    FailureClass,
    JobState,
    JobStatus,
    QueueFullError,
    SchedulerDownError,
    Submission,
    SubmissionError,
)
from analysis.engine.backends.resources import Resources
from analysis.engine.backends.slurm import Slurm, SlurmSettings
from tests.testbed import System, Testbed
from tests.testbed.fixtures import slurm, testbed

__all__ = ["slurm", "testbed"]

pytestmark = pytest.mark.integration

PATIENCE = 150.0
SMALL = Resources(memory=10**7)
HELD = Resources(memory=10**7, extra={"hold": ""})
Answers = dict[str, JobStatus]


class Cluster:
    """A backend, and what the tests ask of it."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.backend = Slurm(SlurmSettings(**settings))
        self.since = time.time()

    def jobs(self, text: str, *arguments: str, folder: str = "jobs", **given: Any) -> Submission:
        """A submission of jobs that run a script."""
        token = secrets.token_hex(8)
        path = self.folder / folder / token
        path.mkdir(parents=True)
        (path / "job.sh").write_text(text)
        return Submission(token, "Test", path, path / "job.sh", arguments, **{"resources": SMALL, **given})

    def submit(self, text: str, *arguments: str, **given: Any) -> tuple[Submission, list[str]]:
        """Submit such jobs."""
        jobs = self.jobs(text, *arguments, **given)
        return jobs, self.backend.submit(jobs)

    def query(self, ids: Collection[str]) -> Answers:
        return self.backend.query(ids, self.since)

    def until(self, ids: Collection[str], wanted: Callable[[Answers], bool]) -> Answers:
        """Ask until the answer is as wanted."""
        end = time.monotonic() + PATIENCE
        while not wanted(answers := self.query(ids)):
            assert time.monotonic() < end, answers
            time.sleep(0.1)
        return answers

    def until_all(self, ids: Collection[str], state: JobState) -> Answers:
        return self.until(
            ids, lambda found: len(found) == len(ids) and all(item.state is state for item in found.values())
        )

    def until_over(self, ids: Collection[str]) -> Answers:
        return self.until(
            ids, lambda found: len(found) == len(ids) and not any(item.state.is_active for item in found.values())
        )


def admin(*command: str) -> str:
    """Call one of Slurm's programs."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def cluster(
    slurm: System,
    testbed: Testbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Cluster:
    assert slurm.name == "slurm"
    monkeypatch.setenv("PATH", f"{testbed.directory}/slurm/bin:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_CONF", f"{testbed.directory}/slurm/etc/slurm.conf")
    return Cluster(tmp_path)


def test_check(cluster: Cluster) -> None:
    cluster.backend.check()
    assert cluster.backend.max_jobs == 20000
    Slurm(SlurmSettings(accounting="on", partition="main,short", cluster="testbed")).check()


def test_lives(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit codes and signals; odd paths and values; nothing of this shell."""
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("SBATCH_ERROR", "/dev/null")
    text = """
    env | grep -v ^SLURM; pwd; echo "ARG=$#:$1" >&2
    case $1 in 1:*) exit 7;; 2:*) kill -9 $$;; esac
    """
    folder, value = "50% %j ü 'q\" #x &;$y", 'it\'s "q" $HOME `x` \\ % #ü 日本 '
    jobs, ids = cluster.submit(text, "0:a", "1:b,4:c", "2:d", folder=folder, environment={"VALUE": value})
    found = cluster.until_over(ids)
    assert cluster.backend.find(jobs.token, cluster.since) == dict(enumerate(ids))
    first, second, third = (found[identity] for identity in ids)
    assert (first.state, first.exit_code, first.failure) == (JobState.FINISHED, 0, None)
    assert (second.state, second.exit_code, second.signal) == (JobState.FAILED, 7, None)
    assert (third.state, third.exit_code, third.signal) == (JobState.FAILED, None, signal.SIGKILL)
    assert not any(item.in_queue for item in found.values())
    assert first.started is not None
    assert first.ended is not None
    assert first.host
    lines = jobs.output(0).read_text().splitlines()
    assert f"VALUE={value}" in lines
    assert str(jobs.folder) in lines
    assert "ARG=1:0:a" in lines
    assert not [line for line in lines if "SECRET" in line or "LC_ALL" in line or "SBATCH" in line]
    assert "ARG=1:1:b,4:c" in jobs.output(1).read_text()


def test_a_thousand(cluster: Cluster) -> None:
    """Each by one call, also where Slurm keeps one record for all tasks that never started."""
    jobs, ids = cluster.submit("true\n", *(f"{number}:0a1b2c3d4e" for number in range(1000)), resources=HELD)
    found = cluster.query(ids)
    assert {(item.state, item.reason) for item in found.values()} == {(JobState.HELD, "JobHeldUser")}
    assert len(found) == 1000
    admin("scontrol", "release", ids[999])
    assert cluster.until_over(ids[999:])[ids[999]].state is JobState.FINISHED
    cluster.backend.cancel(ids[:10])
    cluster.backend.cancel(ids)
    found = cluster.until_over(ids)
    assert found.pop(ids[999]).state is JobState.FINISHED
    assert {(item.failure, item.reason) for item in found.values()} == {
        (FailureClass.REMOVED, f"CANCELLED by {os.getuid()}")
    }
    assert cluster.backend.find(jobs.token, cluster.since) == dict(enumerate(ids))
    cluster.backend.cancel(ids)


def test_another_user_cancels(cluster: Cluster) -> None:
    _, ids = cluster.submit("true\n", "a", resources=HELD)
    cluster.backend._user = os.getuid() + 1
    cluster.backend.cancel(ids)
    found = cluster.until_over(ids)
    assert found[ids[0]].failure is FailureClass.NODE


def test_started_again(cluster: Cluster) -> None:
    """A job that Slurm starts again is active all the time, under the same id, and its output goes on."""
    text = 'echo "start ${SLURM_RESTART_COUNT-}"; [ "${SLURM_RESTART_COUNT-}" ] || sleep 100\n'
    jobs, ids = cluster.submit(text, "a")
    cluster.until(ids, lambda _: jobs.output(0).exists() and "start" in jobs.output(0).read_text())
    admin("scontrol", "requeue", ids[0])
    seen: set[JobState] = set()

    def waits(found: Answers) -> bool:
        seen.update(item.state for item in found.values())
        return ids[0] in found and found[ids[0]].reason == "BeginTime"

    cluster.until(ids, waits)
    admin("scontrol", "update", f"jobid={ids[0]}", "StartTime=now+2")  # else after two minutes

    def over(found: Answers) -> bool:
        seen.update(item.state for item in found.values())
        text = jobs.output(0).read_text()  # Slurm adds a line about the first end
        return text.startswith("start \n") and text.endswith("start 1\n")

    cluster.until(ids, over)
    assert cluster.until_over(ids)[ids[0]].state is JobState.FINISHED
    assert JobState.FAILED not in seen


def test_held_by_the_system(cluster: Cluster) -> None:
    _, ids = cluster.submit("sleep 100\n", "a", "b", "c")
    cluster.until_all(ids, JobState.RUNNING)
    admin("scontrol", "requeuehold", ids[0])
    admin("scontrol", "requeuehold", "State=SpecialExit", ids[1])
    admin("scontrol", "suspend", ids[2])
    found = cluster.until(ids, lambda found: all(found[job].state is JobState.FAILED for job in ids[:2]))
    assert {found[job].failure for job in ids[:2]} == {FailureClass.NODE}
    assert {found[job].in_queue for job in ids[:2]} == {True}
    assert (found[ids[2]].state, found[ids[2]].reason) == (JobState.HELD, "suspended")
    cluster.backend.cancel(ids)
    assert {item.failure for item in cluster.until_over(ids).values()} == {FailureClass.REMOVED}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"queue": "short", "runtime": 3600}, "Partition(TimeLimit|Config)"),
        ({"cores": 64}, "PartitionConfig"),
        ({"extra": {"dependency": "afterok:{}"}}, "DependencyNeverSatisfied"),
    ],
)
def test_never_runs(cluster: Cluster, asked: dict[str, Any], reason: str) -> None:
    if "extra" in asked:
        _, failed = cluster.submit("false\n", "a")
        asked = {"extra": {"dependency": f"afterok:{failed[0]}"}}
        cluster.until_over(failed)
    _, ids = cluster.submit("true\n", "a", resources=Resources(memory=10**7, **asked))
    found = cluster.until(ids, lambda found: found[ids[0]].state is not JobState.PENDING)[ids[0]]
    assert (found.state, found.failure, found.in_queue) == (JobState.FAILED, FailureClass.ENVIRONMENT, True)
    assert re.fullmatch(f"never runs: {reason}", found.reason)
    cluster.backend.cancel(ids)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"queue": "mian"}, r"invalid partition.*did you mean main\?"),
        ({"memory": 10**13}, "Requested node configuration is not available"),
        ({"accounting_group": "nobody"}, "Invalid account"),
        ({"extra": {"qos": "nothing"}}, "(?i)invalid qos"),
        ({"extra": {"such-an-option": "1"}}, "unrecognized option"),
    ],
)
def test_refused(cluster: Cluster, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(SubmissionError, match=words):
        cluster.submit("true\n", "a", resources=Resources(**asked))


def test_too_much_memory(cluster: Cluster) -> None:
    text = "exec python3 -c 'import time; block = bytearray(300 * 10**6); time.sleep(100)'\n"
    _, ids = cluster.submit(text, "a", resources=Resources(memory=60 * 10**6))
    found = cluster.until_over(ids)[ids[0]]
    assert found.failure is FailureClass.MEMORY
    assert found.memory is not None
    assert found.memory > 300 * 10**6


def test_node_fails(cluster: Cluster) -> None:
    """Where Slurm may not start a job again, it is a failure of the node."""
    _, again = cluster.submit("sleep 100\n", "a")
    _, never = cluster.submit("sleep 100\n", "a", resources=Resources(memory=10**7, extra={"no-requeue": ""}))
    node = cluster.until_all([*again, *never], JobState.RUNNING)[again[0]].host
    try:
        admin("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        found = cluster.until(never, lambda found: never[0] in found and not found[never[0]].state.is_active)
        assert found[never[0]].failure is FailureClass.NODE
        assert cluster.query(again)[again[0]].state.is_active
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # a node that answers comes back by itself
            admin("scontrol", "update", f"nodename={node}", "state=resume")
    cluster.backend.cancel(again)


def test_no_shared_files(cluster: Cluster) -> None:
    other = Cluster(cluster.folder, shared_filesystem=False)
    result = cluster.folder / "result"
    (cluster.folder / "input.bin").write_bytes(bytes(range(256)))
    text = 'cp input.bin "$RESULT.$1"; [ $1 = a ] && exit 5; trap "echo ended > $RESULT; exit 9" TERM; sleep 100 & wait'
    given = {"environment": {"RESULT": str(result)}, "inputs": (cluster.folder / "input.bin",)}
    jobs, ids = other.submit(text, "a", "b", **given)
    other.until(ids[1:], lambda _: Path(f"{result}.b").exists())
    assert other.until_over(ids[:1])[ids[0]].exit_code == 5
    other.backend.cancel(ids)
    assert other.until_over(ids)[ids[1]].failure is FailureClass.REMOVED
    assert Path(f"{result}.a").read_bytes() == bytes(range(256))
    assert result.read_text() == "ended\n"  # SIGTERM arrives at the job
    assert not jobs.output(0).exists()


def test_accounting_is_down(cluster: Cluster, slurm: System) -> None:
    """What the controller knows is answered; what only accounting would tell is waited for."""
    jobs, early = cluster.submit("exit $1\n", "0")
    cluster.until_over(early)
    with slurm.without("slurmdbd"):
        _, ids = cluster.submit("exit $1\n", "0", "3")
        found = cluster.until_over([*early, *ids])
        assert [found[identity].exit_code for identity in (*early, *ids)] == [0, 0, 3]
        with pytest.raises(SchedulerDownError, match="accounting"):
            cluster.backend.find(jobs.token, cluster.since)
    assert cluster.until_over([*early, *ids]) == found
    assert cluster.backend.find(jobs.token, cluster.since) == {0: early[0]}


def test_controller_is_down(cluster: Cluster, slurm: System) -> None:
    jobs, ids = cluster.submit("sleep 2; exit $1\n", "4")
    cluster.until_all(ids, JobState.RUNNING)
    with slurm.without("slurmctld"):
        for call in (
            lambda: cluster.query(ids),
            lambda: cluster.submit("true\n", "a"),
            lambda: cluster.backend.cancel(ids),
            lambda: cluster.backend.find(jobs.token, cluster.since),
        ):
            with pytest.raises(SchedulerDownError):
                call()
    assert cluster.until_over(ids)[ids[0]].exit_code == 4


def test_answer_is_lost(cluster: Cluster, slurm: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller takes a submission after we gave up waiting for its answer."""
    _ = cluster.backend.max_jobs
    jobs = cluster.jobs("true\n", "a", "b")
    controller = slurm.processes()["slurmctld"]
    monkeypatch.setattr(module, "TIMEOUT", 1.0)
    os.kill(controller, signal.SIGSTOP)
    try:
        with pytest.raises(SchedulerDownError, match="not known whether there are jobs"):
            cluster.backend.submit(jobs)
    finally:
        os.kill(controller, signal.SIGCONT)
    monkeypatch.undo()
    monkeypatch.setenv("PATH", f"{Testbed().directory}/slurm/bin:{os.environ['PATH']}")
    found: dict[int, str] = {}
    cluster.until((), lambda _: bool(found.update(cluster.backend.find(jobs.token, cluster.since)) or found))
    assert len(found) == 2
    assert {item.state for item in cluster.until_over(found.values()).values()} == {JobState.FINISHED}


def test_no_room(cluster: Cluster, slurm: System) -> None:
    """Sbatch would wait two minutes for room."""
    try:
        with slurm.settings("MaxJobCount = 2"):
            slurm.restart("slurmctld")
            for _ in range(2):  # jobs that ended count for some time
                with contextlib.suppress(QueueFullError):
                    cluster.submit("true\n", "a")
            started = time.monotonic()
            with pytest.raises(QueueFullError, match="temporarily unable to accept job"):
                cluster.submit("true\n", "a")
            assert time.monotonic() - started < PATIENCE / 2
    finally:
        slurm.restart("slurmctld")
