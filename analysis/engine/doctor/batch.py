"""Batch systems: do their clients reach the daemons, and would jobs be taken?"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from analysis.engine.doctor.command import run
from analysis.engine.doctor.examine import Check
from analysis.engine.doctor.finding import Finding, green, grey, red, yellow

if TYPE_CHECKING:
    from analysis.engine.backends.htcondor import HTCondorSettings

TIMEOUT = 15.0
_DENIED = re.compile(r"authenticat|authoriz|denied|FAIL", re.IGNORECASE)
_NO_CLUSTER = re.compile(r"configuration source|fetch.config|DNS SRV", re.IGNORECASE)
_DOWN = "ask the site whether it is up; jobs that run go on without it"


def is_job() -> bool:
    """Whether this process is in a batch job, which submits none."""
    return bool(os.environ.get("ANALYSIS_JOB_BACKEND"))


def is_chosen(system: str) -> bool:
    """Whether this machine is set up for a batch system: by the profile of the site, or by a variable."""
    import law

    variable = {"htcondor": "CONDOR_CONFIG", "slurm": "SLURM_CONF"}[system]
    return law.config.has_section(system) or bool(os.environ.get(variable))


# HTCondor


def htcondor_checks() -> Sequence[Check]:
    """Collector, schedd, permission; one line if it is not used."""
    if unused := _unused("htcondor", "condor_q", "HTCondor"):
        if importlib.util.find_spec("htcondor2") and not is_job():
            return [Check("htcondor", htcondor_bindings, limit=70)]
        return [Check("htcondor", lambda: [unused])]
    return [
        Check("htcondor collector", htcondor_collector),
        Check("htcondor schedd", htcondor_schedd),
        Check("htcondor submit", htcondor_permission),
    ]


def htcondor_collector() -> Iterator[Finding]:
    """Does the central manager answer?"""
    name, settings = "htcondor collector", _htcondor_settings()
    said = run(["condor_status", *_pool(settings), "-collector", "-af", "Machine", "CondorVersion"], TIMEOUT)
    if said.problem or not said.output.strip():
        yield _silent("htcondor", name, said.problem or "it does not know itself", "pool")
        return
    slots = run(["condor_status", *_pool(settings), "-schedd", "-af", "Name"], TIMEOUT)
    first = said.output.splitlines()[0]
    version = re.search(r"CondorVersion: (\S+)", first)
    schedds = len(slots.output.split())
    found = f"{first.split()[0]}, version {version[1] if version else '?'}, knows {schedds} schedd{'s'[: schedds != 1]}"
    yield green(name, found)


def htcondor_schedd() -> Iterator[Finding]:
    """Does the scheduler that gets the jobs answer?"""
    name, settings = "htcondor schedd", _htcondor_settings()
    said = run(["condor_q", *_pool(settings), *_schedd(settings), "-totals"], TIMEOUT)
    words = re.search(r"Schedd: (\S+)", said.output)
    if said.problem or words is None:
        yield _silent("htcondor", name, said.problem or "condor_q shows no scheduler", "schedd")
        return
    mine = re.search(r"Total for query: (.*)|Total for \S+: (\d.*)", said.output)
    yield green(name, words[1] + (f", yours: {(mine[1] or mine[2]).partition(';')[0]}" if mine else ""))


def htcondor_permission() -> Iterator[Finding]:
    """Would jobs of this user be taken?"""
    name, settings = "htcondor submit", _htcondor_settings()
    if os.geteuid() == 0:
        found = "HTCondor takes no jobs of root"
        yield _level("htcondor")(name, found, "run as an ordinary user")
        return
    if shutil.which("condor_ping") is None:
        yield grey(name, "not known: there is no condor_ping")
        return
    said = run(["condor_ping", *_pool(settings), *_schedd(settings), "-type", "schedd", "-quiet", "WRITE"], TIMEOUT)
    if said.problem:
        table = run(["condor_ping", *_pool(settings), *_schedd(settings), "-type", "schedd", "WRITE"], TIMEOUT)
        words = " ".join((table.problem or table.output).split())[:200]
        if not _DENIED.search(words):
            yield grey(name, f"not known: {words}")
            return
        found = f"not allowed ({words})"
        yield _level("htcondor")(name, found, "get what the site identifies you by, e.g. 'kinit' or a token")
    else:
        yield green(name, "allowed")


def htcondor_bindings() -> Iterator[Finding]:
    """There are no command line tools, but Python bindings."""
    from analysis.engine.backends.base import BackendError
    from analysis.engine.backends.registry import backend

    try:
        backend("htcondor").check()
    except BackendError as error:
        yield _level("htcondor")("htcondor", str(error), _DOWN)
    else:
        yield green("htcondor", "its Python bindings reach the schedd")


def _htcondor_settings() -> HTCondorSettings:
    from analysis.engine.backends.htcondor import HTCondorSettings
    from analysis.engine.backends.settings import section

    return HTCondorSettings(**section("htcondor", HTCondorSettings, {}))


def _pool(settings: HTCondorSettings) -> list[str]:
    return ["-pool", settings.pool] if settings.pool else []


def _schedd(settings: HTCondorSettings) -> list[str]:
    return ["-name", settings.schedd] if settings.schedd else []


# Slurm


def slurm_checks() -> Sequence[Check]:
    """One after the other: without the controller, nothing is known of the rest."""
    if unused := _unused("slurm", "sbatch", "Slurm"):
        return [Check("slurm", lambda: [unused])]
    return [Check("slurm", slurm, limit=90)]


def slurm() -> Iterator[Finding]:
    """Does the controller answer, and is there what the profile asks for?"""
    said = run(["scontrol", "ping"], TIMEOUT)
    up = re.search(r"Slurmctld\((\w+)\) at (\S+) is UP", said.output)
    if up is None and _NO_CLUSTER.search(said.problem) and not is_chosen("slurm"):
        yield grey("slurm", "not used: its programs are there, but no cluster is set up")
    elif up is None:
        problem = said.problem or " ".join(said.output.split()) or "it says nothing"
        yield _silent("slurm", "slurm controller", problem, "cluster")
    else:
        version = run(["sinfo", "--version"], TIMEOUT).output.strip()
        yield green("slurm controller", f"{up[2]} ({up[1]}), {version}")
        yield slurm_partitions()


def slurm_partitions() -> Finding:
    """What the profile asks for, as the backend checks it before it submits jobs."""
    from analysis.engine.backends.base import BackendError
    from analysis.engine.backends.registry import backend

    name = "slurm partitions"
    try:
        backend("slurm").check()
    except BackendError as error:
        return _level("slurm")(name, str(error).rstrip("."), "correct section slurm of the profile, or ask the site")
    said = run(["sinfo", "--all", "--noheader", "--format=%R %a %D"], TIMEOUT)
    rows = [line.split() for line in said.output.splitlines() if len(line.split()) == 3]
    found = ", ".join(f"{name} ({nodes} node{'s'[: nodes != '1']}, {state})" for name, state, nodes in rows)
    if any(state == "up" for _, state, _ in rows):
        return green(name, found)
    return _level("slurm")(name, found or "there are none", "no partition takes jobs now: ask the site")


# both


def _unused(system: str, program: str, title: str) -> Finding | None:
    """Why a batch system is not used; ``None`` if it is."""
    if is_job():
        return grey(system, "not used in a batch job")
    if shutil.which(program) is None:
        if is_chosen(system):
            return red(
                system, f"{title} is set up here, but {program} is not on PATH", "load its client, or correct PATH"
            )
        return grey(system, f"not used: {program} is not on PATH")
    return None


def _silent(system: str, name: str, problem: str, option: str) -> Finding:
    profile = os.environ.get("ANALYSIS_PROFILE", "local")
    advice = f"{_DOWN}, or correct {option} in section {system} of profiles/{profile}.cfg"
    problem = problem.partition(" Extra Info:")[0]
    found = problem if problem.startswith("no answer") else f"no answer: {problem}"
    return _level(system)(name, found, advice)


def _level(system: str) -> Callable[[str, str, str], Finding]:
    """Red if this machine is set up for it; a client that came with something else may have no daemons."""
    return red if is_chosen(system) else yellow
