"""Whatever happens to ``law run`` itself, on the real systems: each branch is submitted once, and nothing is lost."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.batch import Site, command_lines, sites, system
from tests.integration.batch_queue import until
from tests.integration.batch_victim import MOMENTS
from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "sites", "slurm", "system", "testbed"]

pytestmark = pytest.mark.integration

SUBMIT = {"htcondor": "condor_submit", "slurm": "sbatch"}
QUERY = {"htcondor": "condor_q", "slurm": "squeue"}


def test_killed_at_five_moments(sites: Callable[..., Site]) -> None:
    """One branch for each, of which the second one is over before anybody looks; then the same command for all."""
    site = sites("gate+gate+done+gate+gate+gate", "--no-canary")
    for branch, moment in enumerate(MOMENTS):
        victim = ("python", "-m", "tests.integration.batch_victim", moment, "run")
        site.start("--branches", str(branch), program=victim).end(-signal.SIGKILL)
    until(lambda: 2 in site.done())
    wait = 'touch "$PLACE/called"; until [[ -e "$PLACE/call" ]]; do sleep 0.1; done; exec "$REAL" "$@"'
    run = site.start("--branches", "4", PATH=site.wrap(SUBMIT[site.system.name], wait))
    run.until((site.place / "called").exists)
    run.kill()
    run = site.start()
    run.until(lambda: {0, 1, 3, 5} <= site.begun().keys())
    (site.place / "call").touch()
    run.until(lambda: 4 in site.ids())
    site.go()
    run.end()
    assert site.done() == set(range(6))
    assert site.submitted() == 6
    assert site.begun() == dict.fromkeys(range(6), 1)


def test_interrupted(sites: Callable[..., Site]) -> None:
    """Jobs run on, the message says so, nothing stays behind; the next run finds them though the first polls fail."""
    site = sites("+".join(["gate"] * 3), "--no-canary")
    for number in (signal.SIGINT, signal.SIGTERM):
        run = site.start()
        run.until(lambda: len(site.begun()) == 3)
        run.until_said("running: 3 ")
        run.signal(number)
        assert run.process.wait(30) != 0
        until(lambda: not any("law run" in line and str(site.place) in line for line in command_lines()))
        assert "3 jobs run on: the same command watches them again, and removes them with --cancel" in run.output()
        assert "Traceback" not in run.output()
        assert len(site.queue.waiting()) == 3
    name = QUERY[site.system.name]
    broken = {"htcondor": '"$REAL" -pool 127.0.0.1:1 -name nobody', "slurm": 'SLURM_CONF="$PLACE/slurm.conf" "$REAL"'}
    configuration = (site.testbed.directory / "slurm" / "etc" / "slurm.conf").read_text()
    lines = [line for line in configuration.splitlines() if not line.startswith("SlurmctldPort=")]
    (site.place / "slurm.conf").write_text("\n".join(["SlurmctldPort=1", "MessageTimeout=2", *lines, ""]))
    # the first one is to see whether there is a scheduler at all
    script = f'echo >> "$PLACE/calls"; case $(wc -l < "$PLACE/calls") in [234]) exec {broken[site.system.name]} "$@";; '
    path = site.wrap(name, script + 'esac; exec "$REAL" "$@"')
    run = site.start(PATH=path)
    run.until_said("nothing is concluded from that, jobs run on")
    run.until_said("answers again")
    site.go()
    run.end()
    assert site.submitted() == 3
    assert site.done() == {0, 1, 2}
    assert site.begun() == dict.fromkeys(range(3), 1)


def test_side_by_side(sites: Callable[..., Site]) -> None:
    """Two runs of a workflow, and one of some of its branches: no branch twice, and all three see the end."""
    site = sites("+".join(["gate"] * 5), "--no-canary")
    runs = [site.start(), site.start(), site.start("--branches", "0:3")]
    runs[0].until(lambda: len(site.begun()) >= 4)
    for run in runs:
        run.until_said("running: ")
    site.go()
    for run in runs:
        run.end()
    assert site.submitted() == 5
    assert site.begun() == dict.fromkeys(range(5), 1)


def test_odd_names(sites: Callable[..., Site]) -> None:
    """Spaces, quotes and other letters in paths and values; in values also what shells expand."""
    odd = 'it\'s "ö" 日本'
    label = f"a {odd} $HOME $(id) %s \\ ;&"
    site = sites("done+done", "--no-canary", "--label", label)
    for name in ("store", "home", "place"):
        setattr(site, name, site.make(site.folder / odd / name))
    site.options = (*site.options, "--place", str(site.place))
    site.succeed()
    assert site.submitted() == 2
    texts = sorted(path.read_text() for path in Path(site.store).rglob("fault_*.txt"))
    assert texts == [f"{branch} {label}" for branch in range(2)]
