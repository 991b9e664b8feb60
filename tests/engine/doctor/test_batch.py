from __future__ import annotations

import os
from pathlib import Path

import pytest

from analysis.engine.backends import registry
from analysis.engine.doctor import batch
from analysis.engine.doctor.examine import examine
from analysis.engine.doctor.finding import Finding, Level
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory that is searched for programs, with those of the system that scripts need, and no batch system."""
    for name in ("CONDOR_CONFIG", "SLURM_CONF", "ANALYSIS_JOB_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    monkeypatch.setattr(registry, "_made", {})
    return folder


def program(folder: Path, name: str, script: str) -> None:
    """A program that says what those of a batch system say; the real ones are asked by the integration tests."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def look(group: str) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine([group]).findings}


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("group", "program"), [("htcondor", "condor_q"), ("slurm", "sbatch")])
def test_not_used(group: str, program: str) -> None:
    assert look(group) == {group: Finding(group, Level.GREY, f"not used: {program} is not on PATH")}


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("group", ["htcondor", "slurm"])
def test_the_profile_asks_for_what_is_not_there(group: str, configure: Configure) -> None:
    configure(group)
    assert look(group)[group].level == Level.RED
    assert look(group)[group].advice == "load its client, or correct PATH"


@pytest.mark.parametrize("group", ["htcondor", "slurm"])
def test_jobs_submit_nothing(path: Path, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "condor_q", "exit 1")
    program(path, "sbatch", "exit 1")
    monkeypatch.setenv("ANALYSIS_JOB_BACKEND", group)
    assert look(group) == {group: Finding(group, Level.GREY, "not used in a batch job")}


DOWN = "echo 'Error: communication error' >&2; echo 'Extra Info: You probably' >&2; exit 1"


@pytest.mark.parametrize("is_chosen", [False, True])
def test_htcondor_is_down(path: Path, monkeypatch: pytest.MonkeyPatch, is_chosen: bool) -> None:
    for name in ("condor_q", "condor_status"):
        program(path, name, DOWN)
    program(path, "condor_ping", 'echo "ERROR: couldn\'t locate (null)!"; exit 1')
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if is_chosen:
        monkeypatch.setenv("CONDOR_CONFIG", "/etc/condor/condor_config")
    found = look("htcondor")
    level = Level.RED if is_chosen else Level.YELLOW
    for name in ("htcondor collector", "htcondor schedd"):
        assert (found[name].level, found[name].found) == (level, "no answer: Error: communication error")
    assert "or correct schedd in section htcondor of profiles/" in found["htcondor schedd"].advice
    assert (found["htcondor submit"].level, found["htcondor submit"].found) == (
        Level.GREY,
        "not known: ERROR: couldn't locate (null)!",
    )


def test_htcondor_lets_nobody_in(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "condor_q", "echo '-- Schedd: node1 : <1.2.3.4:5> @ now'; echo 'Total for query: 3 jobs; 1 idle'")
    program(path, "condor_status", "echo 'cm $CondorVersion: 23.9.6 2024-08-08 $'")
    program(path, "condor_ping", "echo 'WRITE failed! AUTHENTICATE:1003:Failed to authenticate' >&2; exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = look("htcondor")
    assert found["htcondor collector"].found.startswith("cm, version 23.9.6, knows ")
    assert found["htcondor schedd"] == Finding("htcondor schedd", Level.GREEN, "node1, yours: 3 jobs")
    assert found["htcondor submit"].level == Level.YELLOW
    assert found["htcondor submit"].found.startswith("not allowed (WRITE failed! AUTHENTICATE:1003")


def test_htcondor_takes_nothing_of_root(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path, "condor_q", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (found,) = batch.htcondor_permission()
    assert (found.found, found.advice) == ("HTCondor takes no jobs of root", "run as an ordinary user")


def test_the_profile_says_which_scheduler_is_asked(path: Path, configure: Configure) -> None:
    configure("htcondor", pool="cm.site", schedd="s1.site")
    program(path, "condor_q", 'echo "$@" >&2; exit 1')
    (found,) = batch.htcondor_schedd()
    assert found.found == "no answer: -pool cm.site -name s1.site -totals"


def test_programs_of_slurm_without_a_cluster(path: Path, configure: Configure) -> None:
    program(path, "sbatch", "exit 1")
    program(path, "scontrol", "echo 'fatal: Could not establish a configuration source' >&2; exit 1")
    assert look("slurm")["slurm"].level == Level.GREY
    configure("slurm")
    assert look("slurm")["slurm controller"].level == Level.RED


def test_slurm_is_down(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    program(path, "sbatch", "exit 1")
    program(path, "scontrol", "echo 'Slurmctld(primary) at node1 is DOWN'; exit 1")
    assert look("slurm") == {
        "slurm controller": Finding(
            "slurm controller",
            Level.RED,
            "no answer: Slurmctld(primary) at node1 is DOWN",
            "ask the site whether it is up; jobs that run go on without it, or correct cluster in section slurm of "
            f"profiles/{os.environ.get('ANALYSIS_PROFILE', 'local')}.cfg",
        )
    }


def test_slurm(path: Path, configure: Configure) -> None:
    for name in ("sbatch", "squeue", "scancel"):
        program(path, name, "exit 0")
    program(path, "scontrol", "echo 'Slurmctld(primary) at node1 is UP'")
    partitions = 'echo "short up 2"; echo "long down 1"'
    program(path, "sinfo", f'case "$*" in *version*) echo slurm 23.11.4 ;; *%a*) {partitions} ;; *) echo short ;; esac')
    assert look("slurm") == {
        "slurm controller": Finding("slurm controller", Level.GREEN, "node1 (primary), slurm 23.11.4"),
        "slurm partitions": Finding("slurm partitions", Level.GREEN, "short (2 nodes, up), long (1 node, down)"),
    }
    registry._made.clear()
    configure("slurm", partition="shrot")
    found = look("slurm")["slurm partitions"]
    assert (found.level, found.found) == (
        Level.RED,
        "Slurm has no partition shrot; did you mean short? (there are short)",
    )
    registry._made.clear()
    configure("slurm", partition="nowhere")
    assert look("slurm")["slurm partitions"].found == "Slurm has no partition nowhere (there are short)"
