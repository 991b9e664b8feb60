"""The testbed keeps what its page promises: it comes up, stays up, is repaired, takes jobs, goes away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.testbed import HERE, System, Testbed, TestbedError, command

pytestmark = [pytest.mark.integration, pytest.mark.batch]

DAEMONS = {
    "htcondor": ["master", "collector", "negotiator", "startd", "schedd"],
    "slurm": ["munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd"],
}


@pytest.fixture(params=["htcondor", "slurm"])
def system(request: pytest.FixtureRequest) -> System:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, System)
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether a condition comes true in time."""
    end = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return true


def processes_of(*folders: Path) -> list[str]:
    """Command lines of all processes whose program, working directory or first argument is below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            places = [(process / link).readlink() for link in ("exe", "cwd")]
        except OSError:  # ended, or of the kernel
            continue
        if any(place.is_relative_to(folder) for folder in folders for place in (*places, Path(line))):
            found.append(line)
    return found


def test_up_again_changes_nothing(system: System) -> None:
    before = system.processes()
    assert list(before) == DAEMONS[system.name]
    system.start()
    assert system.processes() == before


def test_htcondor_runs_a_job_as_the_user(testbed: Testbed, htcondor: System) -> None:
    assert htcondor.is_up()
    folder = testbed.scratch("htcondor-job")
    (folder / "job").write_text(
        "executable = /usr/bin/id\narguments = -un\noutput = out\nlog = log\nrequest_memory = 100\nqueue\n"
    )
    testbed.succeed("condor_submit", "job", folder=folder)
    testbed.succeed("condor_wait", "-wait", "60", "log", folder=folder)
    assert (folder / "out").read_text() == f"{testbed.user}\n"


def test_slurm_runs_a_job_as_the_user(testbed: Testbed, slurm: System) -> None:
    assert slurm.is_up()
    folder = testbed.scratch("slurm-job")
    job = testbed.succeed("sbatch", "--parsable", "--wait", "--output=out", "--wrap=id -un; exit 0", folder=folder)
    assert (folder / "out").read_text() == f"{testbed.user}\n"
    ended = ("sacct", "--noheader", "--allocations", "--parsable2", "--format=State,ExitCode", "--jobs", job.strip())
    assert wait_for(lambda: testbed.succeed(*ended) == "COMPLETED|0:0\n")


def test_quota_of_submissions(testbed: Testbed, slurm: System) -> None:
    assert slurm.is_up()
    folder = testbed.scratch("quota")
    submit = ("sbatch", "--qos=tiny", "--begin=now+1hour", "--job-name=quota", "--wrap=true")
    codes = [testbed.as_user(*submit, folder=folder).returncode for _ in range(6)]
    testbed.succeed("scancel", "--name=quota")
    assert codes == [0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(("name", "daemon"), [(name, daemon) for name, all_ in DAEMONS.items() for daemon in all_])
def test_a_crash_is_repaired(request: pytest.FixtureRequest, name: str, daemon: str) -> None:
    system = request.getfixturevalue(name)
    before = system.processes()
    system.kill(daemon)
    system.start()
    after = system.processes()
    assert list(after) == DAEMONS[name]
    assert after[daemon] != before[daemon]


def test_a_daemon_is_away_for_a_while(testbed: Testbed, htcondor: System, slurm: System) -> None:
    with htcondor.without("schedd"), slurm.without("slurmdbd"):
        assert "schedd" not in htcondor.processes()
        assert "slurmdbd" not in slurm.processes()
        assert testbed.as_user("condor_q").returncode != 0
        assert testbed.as_user("sacct").returncode != 0
        testbed.succeed("squeue")
    testbed.succeed("condor_q")
    testbed.succeed("sacct")


def test_a_pid_file_of_another_process(testbed: Testbed, slurm: System) -> None:
    """The id of a dead daemon now belongs to a process that is none of ours: it lives on."""
    slurm.kill("slurmd")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (testbed.directory / "slurm" / "run" / "slurmd.pid").write_text(f"{other.pid}\n")
        assert "slurmd" not in slurm.processes()
        slurm.stop("slurmd")
        slurm.start()
        assert other.poll() is None
        assert slurm.processes()["slurmd"] != other.pid
        other.communicate(b"\n")


def test_other_settings_for_a_while(testbed: Testbed, htcondor: System, slurm: System) -> None:
    with htcondor.settings("NEGOTIATOR_INTERVAL = 7"), slurm.settings("MinJobAge=3"):
        assert testbed.succeed("condor_config_val", "NEGOTIATOR_INTERVAL") == "7\n"
        assert "MinJobAge               = 3 sec" in testbed.succeed("scontrol", "show", "config")
    assert testbed.succeed("condor_config_val", "NEGOTIATOR_INTERVAL") == "1\n"
    assert "MinJobAge               = 300 sec" in testbed.succeed("scontrol", "show", "config")


def test_down_leaves_nothing_and_up_brings_the_queue_back(testbed: Testbed, system: System) -> None:
    folder = testbed.scratch(f"{system.name}-down")
    if system.name == "htcondor":
        (folder / "job").write_text("executable = /bin/sleep\narguments = 3600\nrequest_memory = 100\nqueue\n")
        job = testbed.succeed("condor_submit", "-terse", "job", folder=folder).split()[0]
        queue, running, remove = ["condor_q", job, "-af", "JobStatus"], "2", ["condor_rm", job]
    else:
        job = testbed.succeed("sbatch", "--parsable", "--wrap=sleep 3600", folder=folder).strip()
        queue, running, remove = ["squeue", "--noheader", "--jobs", job, "--format=%t"], "R", ["scancel", job]
    assert wait_for(lambda: testbed.succeed(*queue).strip() == running)
    here = (testbed.directory / system.name, folder)
    assert len(processes_of(*here)) > len(DAEMONS[system.name])
    try:
        with system.without():
            assert processes_of(*here) == []
        assert testbed.succeed(*queue).strip() != ""
    finally:
        testbed.succeed(*remove)


def test_clean_environment_of_the_user(testbed: Testbed, htcondor: System, monkeypatch: pytest.MonkeyPatch) -> None:
    assert htcondor.is_up()
    monkeypatch.setenv("LEAKS", "yes")
    names = dict(line.split("=", 1) for line in testbed.succeed("env", environment={"GIVEN": "1"}).splitlines())
    assert names.pop("GIVEN") == "1"
    assert names == testbed.environment()


def test_project_of_the_user(testbed: Testbed, slurm: System) -> None:
    assert slurm.is_up()
    where = testbed.succeed("python", "-P", "-c", "import analysis, law; print(analysis.__file__)").strip()
    assert where == str(testbed.repository / "analysis" / "__init__.py")


def test_bindings_reach_the_pool(testbed: Testbed, htcondor: System) -> None:
    assert htcondor.is_up()
    code = "import htcondor2; print(len(htcondor2.Collector().query(htcondor2.AdType.Schedd)), htcondor2.version())"
    said = testbed.succeed("python", "-c", code, environment={"PYTHONPATH": str(testbed.bindings)})
    assert said.startswith("1 $CondorVersion: 23.10.29")


def test_signals_reach_the_command(testbed: Testbed, htcondor: System) -> None:
    assert htcondor.is_up()
    with testbed.start_as_user("sleep", "3600") as process:
        assert wait_for(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "sleep\n")
        process.terminate()
        assert process.wait(timeout=60) == -15


def test_unknown_name() -> None:
    with pytest.raises(TestbedError, match="no system or daemon 'slurmx'"):
        command("up", "slurmx")


def test_another_directory_is_another_testbed(tmp_path: Path) -> None:
    environment = {**os.environ, "TESTBED_DIR": str(tmp_path)}
    said = subprocess.run([HERE / "status"], env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert {line.split()[2] for line in said.stdout.splitlines()} == {"down"}
