"""What all tests share: real events to run on, and the rule that nothing is skipped unseen."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.chain import Law

if TYPE_CHECKING:
    from collections.abc import Generator

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ANALYSIS_TEST_DATA") or REPOSITORY.parent / "shared" / "data")
NO_DATA = f"no real events in {DATA}: set ANALYSIS_TEST_DATA to their directory"

collect_ignore = ["integration/asking_toys.py"]
"""It cannot be imported, which is what a test is about."""

BATCH = {"htcondor", "slurm", "system", "sandboxes"}
"""Fixtures of batch systems, and of containers, which jobs start as well: there is one of each."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


@pytest.fixture(autouse=True)
def _no_store_is_remembered() -> Generator[None]:
    """A test may change the configuration of stores."""
    from analysis.engine.storage import stores

    yield
    stores.forget()


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Directory of real NanoAOD files and published results; the test is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(NO_DATA)
    return DATA


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Law, subprocess.CompletedProcess[str]]:
    """The finished ``Report`` of the generated campaign, and what the run said."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "law_home").mkdir()
    law = Law(folder / "store", folder / "law_home")
    return law, law.succeed("Report", "--workers", "2")


@pytest.fixture(scope="session")
def demo_store(demo: tuple[Law, subprocess.CompletedProcess[str]]) -> Path:
    """Store with a finished ``Report`` of the campaign ``demo``."""
    return demo[0].store


def pytest_configure() -> None:
    """Let signals reach what tests start: a shell has what it starts in the background ignore Ctrl-C, nohup SIGHUP."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips", action="store_true", help="a skipped test fails, unless it misses the data of ANALYSIS_TEST_DATA"
    )
    parser.addoption(
        "--exhaustive", action="store_true", help="run all combinations, where otherwise each part of them is run once"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what takes minutes last, and what takes hours only if it is asked for; mark what uses :data:`BATCH`."""
    for item in items:
        if BATCH & set(getattr(item, "fixturenames", ())):
            item.add_marker("batch")
    items.sort(key=lambda item: item.get_closest_marker("integration") is not None)
    if not config.getoption("--exhaustive"):
        more = [item for item in items if item.get_closest_marker("exhaustive")]
        items[:] = [item for item in items if item not in more]
        config.hook.pytest_deselected(items=more)


def refuse_skip(report: Report, config: pytest.Config) -> Report:
    """Turn a skip into a failure if ``--no-skips`` asks for it."""
    if not (config.getoption("--no-skips") and report.outcome == "skipped") or hasattr(report, "wasxfail"):
        return report
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    if "ANALYSIS_TEST_DATA" in reason and "ANALYSIS_TEST_DATA" not in os.environ:
        return report
    report.outcome = "failed"
    report.longrepr = f"skipped, which --no-skips does not accept: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return refuse_skip((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return refuse_skip((yield), collector.config)
