"""Batch jobs whose outputs are on servers, on the real systems and servers, without a shared file system.

Jobs get their code and packages from HTCondor, or from the store; the directory ``ANALYSIS_STORE`` is not there.
"""

from __future__ import annotations

import json
import pwd
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from analysis.engine.manifest import Manifest
from tests.integration import results
from tests.integration.batch import Site, sites, system
from tests.integration.batch_sent import Sent, sending, sent
from tests.integration.test_batch_chain import Place, place
from tests.integration.test_concurrent import manifests
from tests.testbed import System, Testbed
from tests.testbed.fixtures import htcondor, slurm, storage, testbed
from tests.testbed.storage import DAVS, ROOT, ROOT_TOKEN, TOKEN, WAYS, Storage, Way

__all__ = ["htcondor", "sent", "sites", "slurm", "storage", "system", "testbed"]

pytestmark = pytest.mark.integration

NO_DELEGATION = "DELEGATE_JOB_GSI_CREDENTIALS = False"
"""HTCondor 23 cannot delegate the proxies of the testbed; it sends the file then."""
NOT_SHARED = {"LAW__batch__shared_filesystem": "False", "LAW__batch__output_delay": "2s"}


USUAL = [("htcondor", DAVS), ("slurm", ROOT_TOKEN)]
"""How the whole chain goes if not all combinations are asked for: the two that it does not go on this machine."""
OTHERS = [(system, way) for system in ("htcondor", "slurm") for way in WAYS if (system, way) not in USUAL]
FULL = [*USUAL, *(pytest.param(*other, marks=pytest.mark.exhaustive) for other in OTHERS)]


def configured(storage: Storage, base: str, credential: str | None = None) -> dict[str, str]:
    """Variables for all outputs at a URL."""
    forwarded = ",".join(name for name in storage.variables if name.startswith("XRD_"))
    return {
        **storage.environment(credential, "analyst"),
        **NOT_SHARED,
        "ANALYSIS_STORE": "/nonexistent/store",
        "LAW__outputs__default": "wlcg, wlcg_fs",
        "LAW__wlcg_fs__base": base,
        "LAW__batch__forward_env": forwarded,
    }


@dataclass(frozen=True)
class There:
    """A place on a server, and a ``LAW_HOME`` whose outputs go there."""

    place: Place
    disk: Path

    @property
    def made(self) -> dict[str, Manifest]:
        return manifests(self.disk)


@contextmanager
def remote(testbed: Testbed, system: System, storage: Storage, way: Way, sent: Sent, **more: str) -> Iterator[There]:
    """An empty place, reached that way."""
    name = f"batch_{secrets.token_hex(4)}"
    disk = storage.scratch("xrd-auth", name)
    settings = {
        **configured(storage, storage.url("xrd-auth", way.protocol, name), way.credential),
        "ANALYSIS_WORKER_CACHE": str(sent.packages),
        **more,
    }
    special = system.settings(NO_DELEGATION) if system.name == "htcondor" else nullcontext()
    try:
        with place(testbed, system, **settings) as where, special:
            sent.use(where)
            yield There(where, disk)
    finally:
        shutil.rmtree(disk)


def check_same(there: There, demo_store: Path) -> int:
    """Compare with a run on a local disk.

    Returns:
        How many outputs have the same size and checksum.
    """
    made = there.made
    compared = results.check_same(made, manifests(demo_store))  # the place is no part of recipes
    for key, manifest in made.items():
        backend = there.place.system.name if manifest.branch is not None else "local"
        assert manifest.provenance["backend"] == backend, key
    results.check_same_content(made, there.disk, demo_store)
    results.check_clean(there.disk)
    assert not Path("/nonexistent").exists()
    return compared


def logs(folder: Path) -> dict[str, int]:
    """Numbers of logs by result."""
    found: dict[str, int] = {}
    for path in folder.rglob("*.log.gz"):
        result = path.name.split(".")[3]
        found[result] = found.get(result, 0) + 1
    return found


@pytest.mark.parametrize(("system", "way"), FULL, indirect=["system"], ids=str)
def test_chain(testbed: Testbed, system: System, storage: Storage, demo_store: Path, way: Way, sent: Sent) -> None:
    """Of another user, with all outputs on a server that wants a credential: the same recipes, numbers and bits."""
    with remote(testbed, system, storage, way, sent) as there:
        there.place.law("analysis.tasks.Report")
        made = there.made
        assert "v1/demo/Report#None" in made
        assert check_same(there, demo_store) > 500
        branches = sum(manifest.branch is not None for manifest in made.values())
        assert logs(there.disk) == {"ok": branches}
        jobs = there.place.queue.jobs()
        assert ": all: " not in there.place.law("analysis.tasks.Report")  # there is nothing to do
        assert there.place.queue.jobs() == jobs
        assert there.made == made


@pytest.mark.parametrize(("system", "way"), OTHERS, indirect=["system"], ids=str)
def test_short_chain(
    testbed: Testbed, system: System, storage: Storage, demo_store: Path, way: Way, sent: Sent
) -> None:
    with remote(testbed, system, storage, way, sent) as there:
        there.place.law("analysis.tasks.IndexFiles", "--dataset", "wjets")
        assert len(there.made) > 1
        check_same(there, demo_store)
        assert logs(there.disk).keys() == {"ok"}


@pytest.mark.parametrize(
    ("system", "way"),
    [
        ("htcondor", TOKEN),
        ("slurm", ROOT),
        pytest.param("htcondor", ROOT, marks=pytest.mark.exhaustive),
        pytest.param("slurm", TOKEN, marks=pytest.mark.exhaustive),
    ],
    indirect=["system"],
    ids=str,
)
def test_code_and_packages_arrive(testbed: Testbed, system: System, storage: Storage, way: Way) -> None:
    """Jobs fetch them from the store, to which they were uploaded once; HTCondor sends the code itself."""
    more = {"LAW__batch__job_files": "tests"}
    with sending(testbed) as new, remote(testbed, system, storage, way, new, **more) as there:
        there.place.law("tests.integration.place_toys.PlaceToy")
        found = [json.loads(path.read_text()) for path in there.disk.rglob("place_*.json")]
        bundles = sorted(path.name.partition("-")[0] for path in there.disk.glob(".bundles/*"))
    assert len(found) == 2
    for places in found:
        assert re.search(r"/job\.\w{6}/repository/", places["analysis"])
        assert re.search(r"/packages_\w+/sandbox-\w{16}-py3\.\d+/", places["numpy"])
    assert bundles == (["sandbox"] if system.name == "htcondor" else ["repository", "sandbox"])


# a store that goes away

Toys = Callable[[str], tuple[Site, Path]]


@pytest.fixture
def toys(sites: Callable[..., Site], storage: Storage) -> Toys:
    """Makes a site for two branches that wait at a gate, with outputs on a server; and where they are on its disk."""

    def make(job_patience: str) -> tuple[Site, Path]:
        name = f"batch_{secrets.token_hex(4)}"
        disk = storage.scratch("xrd-open", name)
        settings = configured(storage, storage.url("xrd-open", "root", name))
        hasty = {"LAW__wlcg_fs__patience": "1s", "LAW__wlcg_fs__retry_delay": "1s", "LAW__wlcg_fs__timeout": "5s"}
        settings |= {**hasty, "LAW__wlcg_fs__job_patience": job_patience, "LAW__batch__shared_filesystem": "True"}
        return sites("gate+gate", "--no-canary", **settings), disk

    return make


def written(disk: Path) -> list[str]:
    """What is in the outputs."""
    return sorted(path.read_text().strip() for path in disk.rglob("fault_*.txt"))


def test_jobs_wait_for_a_store_that_is_away(toys: Toys, storage: Storage) -> None:
    """And while they run, nobody asks it anything."""
    site, disk = toys("10min")
    run = site.start()
    run.until(lambda: site.begun() == {0: 1, 1: 1})
    run.until_said("running: 2")
    mark, answers = storage.mark("xrd-open"), set(site.select("SELECT answered FROM polls"))

    def has_asked() -> bool:
        answers.update(site.select("SELECT answered FROM polls"))
        return len(answers) > 5

    run.until(has_asked)
    assert storage.requests(mark).keys() <= {"open", "write", "close"}  # signs of life of locks
    with storage.without("xrd-open"):
        site.go()
        said = f"no answer from {storage.url('xrd-open', 'root', disk.name)} "
        run.until(lambda: sum(said in text for text in branch_logs(site)) == 2)
    assert "failed: 0" in run.end()
    assert written(disk) == ["0", "1"]
    assert site.begun() == {0: 1, 1: 1}
    assert logs(disk) == {"ok": 2}


def branch_logs(site: Site) -> list[str]:
    """Logs of branches that run, and of those that were killed."""
    execute = site.testbed.directory / "htcondor" / "execute"
    user, texts = pwd.getpwnam(site.testbed.user).pw_uid, []
    for path in (*Path("/tmp").glob("job.*/branch_*.log"), *execute.glob("dir_*/job.*/branch_*.log")):
        with suppress(FileNotFoundError):
            if path.stat().st_uid == user:
                texts.append(path.read_text(errors="replace"))
    return texts


def test_store_that_is_away_when_jobs_end_tells_nothing(toys: Toys, storage: Storage) -> None:
    """Jobs that cannot leave anything behind have failed, which is known as soon as the store is back."""
    site, disk = toys("1s")
    run = site.start()
    run.until(lambda: site.begun() == {0: 1, 1: 1})
    with storage.without("xrd-open"):
        site.go()
        run.until_said("the store does not answer")
        assert "retry: 0" in run.output()
        assert "failed: 1" not in run.output()
        assert not run.has_ended()
    said = run.end()
    assert written(disk) == ["0", "1"]
    assert site.begun() == {0: 2, 1: 2}
    assert "nothing is concluded from that, jobs run on" in said
    assert logs(disk) == {"ok": 2}
