"""The doctor on the real systems and servers: as they are, when they are down, and on a worker."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from analysis.engine.doctor.finding import Finding, Level, Report
from tests.chain import Law
from tests.integration.batch import Site, making, sites, system
from tests.testbed import System, Testbed
from tests.testbed.faultproxy import FaultProxy
from tests.testbed.fixtures import htcondor, slurm, storage, testbed
from tests.testbed.storage import Protocol, Storage

__all__ = ["htcondor", "sites", "slurm", "storage", "system", "testbed"]

pytestmark = pytest.mark.integration

Look = Callable[..., Report]


def named(report: Report, name: str) -> Finding:
    (found,) = (finding for finding in report.findings if finding.name == name)
    return found


# stores


@pytest.fixture
def look(law: Law, storage: Storage) -> Look:
    """What ``analysis doctor`` finds with all outputs at a URL."""

    def call(base: str, *groups: str, credential: str | None = None, **variables: str) -> Report:
        environment = {
            name: value for name, value in law.environment().items() if not name.startswith(("X509", "BEARER"))
        }
        environment |= {"XDG_RUNTIME_DIR": "", "LAW__outputs__default": "wlcg, wlcg_fs", "LAW__wlcg_fs__base": base}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "analysis", "doctor", "--json", *(groups or ["storage", "credentials"])],
            env={**environment, **storage.environment(credential), **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stderr == ""
        report = Report.from_json(done.stdout, "")
        assert done.returncode == (not report.is_healthy())
        return report

    return call


@pytest.mark.parametrize(
    ("protocol", "credential"),
    [("root", "alice.proxy"), ("root", "write.token"), ("https", "alice.proxy"), ("davs", "write.token")],
)
def test_round_trip(storage: Storage, look: Look, protocol: Protocol, credential: str) -> None:
    folder = storage.scratch("xrd-auth", "jane")
    report = look(storage.url("xrd-auth", protocol, "jane/not/made"), credential=credential)
    found = named(report, "store wlcg_fs")
    assert found.level == Level.GREEN, found
    for step in ("write", "list", "read", "checksum", "remove"):
        assert re.search(rf"\b{step} [\d.e-]+ ms", found.found)
    assert named(report, "clock wlcg_fs").found == "the same as here"
    assert named(report, credential.partition(".")[2]).level == Level.GREEN
    assert list(folder.rglob("*")) == []


@pytest.mark.parametrize(
    ("protocol", "credential", "said"),
    [
        ("root", None, "look at your credential with 'analysis credentials'"),
        ("root", "mallory.proxy", "look at your credential with 'analysis credentials'"),
        ("https", "read.token", "look at your credential with 'analysis credentials'"),
        ("root", "expired.proxy", "'voms-proxy-init"),
    ],
)
def test_denied(storage: Storage, look: Look, protocol: Protocol, credential: str | None, said: str) -> None:
    folder = storage.scratch("xrd-auth", "jane")
    report = look(storage.url("xrd-auth", protocol, "jane"), credential=credential)
    assert named(report, "store wlcg_fs").level == Level.RED
    assert any(said in finding.advice for finding in report.findings if finding.level == Level.RED)
    assert list(folder.rglob("*")) == []


def test_read_only(storage: Storage, look: Look) -> None:
    found = named(look(storage.url("xrd-readonly", "root", "jane")), "store wlcg_fs")
    assert (found.level, found.advice) == (Level.RED, "it can only be read: name another store in [outputs] of law.cfg")


def test_a_server_that_is_down_holds_up_nothing(storage: Storage, look: Look) -> None:
    urls = [storage.url(server, "root", "jane") for server in ("xrd-open", "xrd-open2")]
    with storage.without("xrd-open2"):
        report = look(", ".join(urls))
    endpoints = [finding for finding in report.findings if finding.name == "store wlcg_fs"]
    assert [finding.level for finding in endpoints] == [Level.GREEN, Level.RED]
    assert endpoints[1].found.startswith(f"{urls[1]}: stat: ")
    assert "ask the site whether that server is up" in endpoints[1].advice


@pytest.mark.parametrize("protocol", ["root", "https"])
def test_latency_is_that_of_the_way(storage: Storage, look: Look, protocol: Protocol) -> None:
    storage.scratch("xrd-open", "jane")
    with FaultProxy(storage.port("xrd-open", protocol), latency=0.2) as proxy:
        found = named(look(storage.url("xrd-open", protocol, "jane", port=proxy.port)), "store wlcg_fs")
    assert found.level == Level.GREEN, found
    times = [float(milliseconds) for milliseconds in re.findall(r"([\d.]+) ms", found.found)]
    assert min(times) >= 400  # there and back


@pytest.mark.parametrize("protocol", ["root", "https"])
def test_a_connection_that_hangs_in_the_middle(storage: Storage, look: Look, protocol: Protocol) -> None:
    storage.scratch("xrd-open", "jane")
    with FaultProxy(storage.port("xrd-open", protocol), hang_up=1500) as proxy:
        found = named(look(storage.url("xrd-open", protocol, "jane", port=proxy.port)), "store wlcg_fs")
    assert found.level == Level.RED
    assert re.search(r"\(after \d+ s\)|no answer within 40 s", found.found)


# batch systems


def doctor(site: Site, *words: str, **variables: str) -> Report:
    """What ``analysis doctor`` finds for the user of a batch system."""
    command = ("python", "-P", "-m", "analysis", "doctor", "--json", *words)
    done = site.testbed.as_user(*command, environment=site.environment(variables), folder=site.folder)
    report = Report.from_json(done.stdout, done.stderr)
    assert done.returncode == (not report.is_healthy())
    return report


DAEMON = {"htcondor": "schedd", "slurm": "slurmctld"}
SCHEDULER = {"htcondor": "htcondor schedd", "slurm": "slurm controller"}


def test_a_batch_system(sites: Callable[..., Site], system: System) -> None:
    site = sites("done")
    found = doctor(site, system.name).findings
    assert {finding.level for finding in found} == {Level.GREEN}, found
    names = {
        "htcondor": ["htcondor collector", "htcondor schedd", "htcondor submit"],
        "slurm": ["slurm controller", "slurm partitions"],
    }
    assert [finding.name for finding in found] == names[system.name]


def test_a_scheduler_that_is_down(sites: Callable[..., Site], system: System) -> None:
    site = sites("done")
    with system.without(DAEMON[system.name]):
        found = named(doctor(site, system.name), SCHEDULER[system.name])
    assert found.level == Level.RED
    assert found.found.startswith("no answer")
    assert found.advice.startswith("ask the site whether it is up")


def test_a_partition_that_does_not_exist(testbed: Testbed, slurm: System) -> None:
    with making(testbed, slurm) as make:
        found = named(doctor(make("done"), "slurm", LAW__slurm__partition="nowhere"), "slurm partitions")
    assert (found.level, "nowhere" in found.found) == (Level.RED, True)


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "not shared"])
def test_on_a_worker(sites: Callable[..., Site], testbed: Testbed, system: System, is_shared: bool) -> None:
    site = sites("done")
    options = ("--workflow", system.name, "--poll-interval", "0.5s", "--memory", "500MB")
    variables = {"LAW__batch__shared_filesystem": str(is_shared)}
    command = ("python", "-P", "-m", "law", "run", "analysis.tasks.Doctor", *options)

    def run(*more: str) -> str:
        return testbed.succeed(*command, *more, environment=site.environment(variables), folder=site.folder)

    said = run()
    path = site.store / "v1" / "Doctor" / "doctor_0.json"
    report = Report.from_json(path.read_text(), "")
    assert named(report, system.name).found == "not used in a batch job"
    assert named(report, "environment").level == Level.GREEN
    assert named(report, "store local").level == Level.GREEN
    assert f"{testbed.user}@{report.host}, " in said
    shown = testbed.as_user(
        *("python", "-P", "-m", "analysis", "doctor", "--from", str(path)), environment=site.environment({})
    )
    assert shown.stdout.splitlines() == said.splitlines()[-len(shown.stdout.splitlines()) - 1 : -1]
    assert [str(place.relative_to(site.store)) for place in site.store.rglob(".doctor*")] == []
    run("--remove-output", "0,a,y")
    assert json.loads(path.read_text())["time"] > report.time
