"""The whole chain as batch jobs on the real systems: what comes out is what a run on this machine makes."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from analysis.engine.manifest import Manifest
from benchmarks.clients import SUBMIT, Call, CountedClients
from tests.integration.batch import system
from tests.integration.batch_queue import Queue
from tests.integration.results import check_same, check_same_content, paths
from tests.integration.test_concurrent import NOT_THE_SAME_BITS, manifests
from tests.testbed import System, Testbed
from tests.testbed.fixtures import htcondor, slurm, testbed

__all__ = ["htcondor", "slurm", "system", "testbed"]

pytestmark = pytest.mark.integration

KERNELS = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
"""What a run here is told of the processor: with other routines the last digits of a fit are others."""
COUNT = r"\d+ \([+-]\d+\)"
LINE = re.compile(
    rf"all: (?P<all>\d+), (unsubmitted: {COUNT}, )?pending: {COUNT}, running: {COUNT}, finished: {COUNT}, "
    rf"retry: {COUNT}, failed: {COUNT}(, held: {COUNT})?(, unknown: {COUNT})?(, \d+\.\d/min, [\dhmins ]+ left)?"
)
"""The line of law, with some more numbers at its end."""


@dataclass(frozen=True)
class Place:
    """A store and a ``LAW_HOME`` of the user, and commands of the system that are counted."""

    testbed: Testbed
    system: System
    folder: Path
    clients: CountedClients
    settings: dict[str, str]

    def law(self, *arguments: str, code: int = 0) -> str:
        """``law run`` that has to end well, or with another exit code; what it said."""
        path = f"{self.clients.folder}:{self.testbed.environment()['PATH']}"
        line = ("law", "run", *arguments, "--workflow", self.system.name, "--poll-interval", "2s")
        finished = self.testbed.as_user(
            *line, environment={**self.environment, "PATH": path}, folder=self.folder, timeout=900
        )
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished.stdout + finished.stderr

    @property
    def environment(self) -> dict[str, str]:
        places = {"ANALYSIS_STORE": str(self.store), "LAW_HOME": str(self.home)}
        forwarded = {"LAW__batch__forward_env": ",".join(KERNELS)} if KERNELS else {}
        return {"ANALYSIS_PROFILE": "local", **KERNELS, **forwarded, **places, **self.settings}

    @property
    def home(self) -> Path:
        return self.folder / "law"

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def queue(self) -> Queue:
        return Queue(self.testbed, self.system, self.folder)


@contextmanager
def place(testbed: Testbed, system: System, **settings: str) -> Iterator[Place]:
    """A place that is removed in the end."""
    # the systems remember the jobs of earlier tests by their directory
    folder = testbed.scratch(f"{system.name}-{secrets.token_hex(4)}")
    clients = CountedClients(folder, system.name, testbed.directory / system.name / "bin")
    where = Place(testbed, system, folder, clients, settings)
    try:
        yield where
    finally:
        for job in where.queue.waiting():
            where.queue.remove(job)
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Chain:
    """A finished ``Report``."""

    place: Place
    said: str
    calls: list[Call]
    jobs: dict[str, str]
    made: dict[str, Manifest]

    @property
    def batch(self) -> dict[str, Manifest]:
        """Manifests of branches."""
        return {key: manifest for key, manifest in self.made.items() if manifest.branch is not None}


@pytest.fixture(scope="module")
def chain(testbed: Testbed, system: System) -> Iterator[Chain]:
    """``law run Report``, on HTCondor by its Python bindings."""
    settings = {}
    if system.name == "htcondor":
        settings = {
            "PYTHONPATH": f"{testbed.repository}:{testbed.bindings}",
            "LAW__htcondor__client": "bindings",
        }
    with place(testbed, system, **settings) as where:
        said = where.law("analysis.tasks.Report")
        yield Chain(where, said, where.clients.take(), where.queue.jobs(), manifests(where.store))


def test_result_is_that_of_a_run_here(chain: Chain, demo_store: Path) -> None:
    """Of another user, at another path, in one process after the other: the same recipes, numbers and bits."""
    assert "v1/demo/Report#None" in chain.made
    assert check_same(chain.made, manifests(demo_store)) > 500
    families = {manifest.task.rpartition(".")[2] for manifest in chain.made.values()}
    assert {"MergeHistograms", "TrainModel", "FitModel", "PlotFit", "Report"} <= families


def test_files_of_root_have_the_same_content(chain: Chain, demo_store: Path) -> None:
    """They differ in dates and identifiers of their header."""
    names = [path for path in paths(chain.made) if Path(path).suffix == ".root"]
    assert any("GenerateEvents" in name for name in names)
    assert any("BuildModel" in name for name in names)
    assert check_same_content(chain.made, chain.place.store, demo_store) == len(names)


def test_pages_are_the_same(chain: Chain, demo_store: Path) -> None:
    """But for the report, which tells when it was made."""
    assert {".root", ".html"} == NOT_THE_SAME_BITS
    names = [path for path in paths(chain.made) if path.endswith(".html")]
    assert len(names) == 3
    for name in set(names) - {"v1/demo/Report/report.html"}:
        assert (chain.place.store / name).read_bytes() == (demo_store / name).read_bytes(), name


def test_manifests_name_the_job(chain: Chain, demo_store: Path) -> None:
    """The jobs are those that the system itself knows, and none was submitted for nothing."""
    named = set()
    for key, manifest in chain.batch.items():
        origin, used = manifest.provenance, manifest.resources
        assert origin["backend"] == chain.place.system.name, key
        assert origin["host"] == os.uname().nodename
        assert 20e6 < used["peak_memory_bytes"] < 2e9, key
        assert 0 < used["wall_seconds"] < 120
        assert used["cpu_seconds"] > 0
        start, end = (datetime.fromisoformat(origin[name]) for name in ("started", "finished"))
        assert abs((end - start).total_seconds() - used["wall_seconds"]) < 2
        named.add(origin["job"])
    over = "4" if chain.place.system.name == "htcondor" else "COMPLETED"
    assert chain.jobs == dict.fromkeys(named, over)
    local = [manifest for manifest in chain.made.values() if manifest.branch is None]
    assert {manifest.provenance["backend"] for manifest in local} == {"local"}
    expected = manifests(demo_store)
    for key, manifest in chain.batch.items():
        found, wanted = manifest.provenance["versions"], expected[key].provenance["versions"]
        assert {**found, "python": ""} == {**wanted, "python": ""}, key  # the user's may be another one


def test_status_lines(chain: Chain) -> None:
    lines = [line for line in chain.said.splitlines() if ": all: " in line]
    assert len(lines) > 20
    for line in lines:
        found = re.fullmatch(rf"[^:]+: \d\d:\d\d:\d\d: {LINE.pattern}", line)
        assert found, line
        stages = re.findall(r"[a-z]+: (\d+) \(", line)
        assert sum(map(int, stages)) == int(found["all"]), line
    last = {line.partition(":")[0]: line for line in lines}
    for line in last.values():
        found = re.search(r"all: (\d+), .*finished: (\d+) ", line)
        assert found
        assert found[1] == found[2], line


def test_submissions(chain: Chain) -> None:
    """By the bindings no command is called; else two submissions per workflow at most, one for the first branch."""
    made = [call for call in chain.calls if call.name == SUBMIT[chain.place.system.name]]
    if chain.place.system.name == "htcondor":
        assert chain.calls == []
    else:
        workflows = {key.partition("#")[0] for key in chain.batch}
        assert len(workflows) <= len(made) <= 2 * len(workflows)


def test_second_run_does_nothing(chain: Chain) -> None:
    said = chain.place.law("analysis.tasks.Report")
    assert ": all: " not in said
    assert chain.place.clients.take() == []
    assert chain.place.queue.jobs() == chain.jobs
    assert manifests(chain.place.store) == chain.made


def test_command_line_tools(testbed: Testbed, htcondor: System, demo_store: Path) -> None:
    with place(testbed, htcondor, LAW__htcondor__client="tools") as where:
        where.law("analysis.tasks.GenerateEvents", "--dataset", "wjets")
        names = {call.name for call in where.clients.take()}
        made, expected = manifests(where.store), manifests(demo_store)
    assert {"condor_submit", "condor_q", "condor_history"} >= names >= {"condor_submit", "condor_q"}
    assert len(made) > 1
    assert {key: (m.recipe, m.accounting) for key, m in made.items()} == {
        key: (expected[key].recipe, expected[key].accounting) for key in made
    }


def test_without_shared_file_system(testbed: Testbed, system: System) -> None:
    """Jobs bring their code and their packages along."""
    settings = {"LAW__batch__shared_filesystem": "False", "LAW__batch__job_files": "tests"}
    with place(testbed, system, **settings) as where:
        where.law("tests.integration.place_toys.PlaceToy")
        found = [json.loads(path.read_text()) for path in sorted(where.store.rglob("place_*.json"))]
        made = manifests(where.store)
    assert len(found) == 2
    for places in found:
        working = Path(places.pop("cwd"))
        if system.name == "htcondor":
            assert working.is_relative_to(testbed.directory / "htcondor" / "execute")
        for name, path in places.items():
            # made by job.sh, and removed with the job
            assert re.search(r"/job\.\w{6}/(repository|sandbox-\w{16}-py3\.\d+)/", path), (name, path)
            assert not Path(path).exists()
    assert len({places["analysis"] for places in found}) == 2
    assert {manifest.provenance["backend"] for manifest in made.values()} == {system.name}
