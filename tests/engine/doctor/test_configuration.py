from __future__ import annotations

import configparser
import os
from pathlib import Path

import law
import pytest

from analysis.engine.doctor import configuration
from analysis.engine.doctor.finding import Finding, Level
from tests.chain import REPOSITORY
from tests.engine.storage.test_settings import Configure, configure

__all__ = ["configure"]


@pytest.fixture(autouse=True)
def _shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAW_CONFIG_FILE", str(REPOSITORY / "law.cfg"))
    monkeypatch.setenv("ANALYSIS_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("LAW_HOME", str(tmp_path))
    monkeypatch.setenv("ANALYSIS_PROFILE", "local")
    monkeypatch.delenv("ANALYSIS_JOB_BACKEND", raising=False)


def test_all_is_well() -> None:
    (found,) = configuration.settings()
    assert found == Finding("law.cfg", Level.GREEN, f"{REPOSITORY / 'law.cfg'}, profile local")
    assert list(configuration.sections()) == []


def test_each_mistake_is_named(configure: Configure) -> None:
    configure("batch", queue_limit="many")
    configure("stale", default="sometimes")
    found = list(configuration.settings())
    assert {finding.level for finding in found} == {Level.RED}
    assert [finding.found for finding in found] == [
        "law.cfg or the profile, section batch, queue_limit: 'many' is not a number",
        "law.cfg, section stale: 'sometimes' for default is not one of rerun, warn, error",
    ]


def test_no_law_cfg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAW_CONFIG_FILE", str(tmp_path / "none.cfg"))
    (found,) = configuration.settings()
    assert (found.level, found.advice) == (Level.RED, "source setup.sh again")
    monkeypatch.delenv("LAW_CONFIG_FILE")
    (found,) = configuration.settings()
    assert (found.level, found.advice) == (Level.RED, "source setup.sh")


def test_variables_and_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANALYSIS_STORE")
    store, rest = configuration.settings()
    assert (store.name, store.level, rest.level) == ("ANALYSIS_STORE", Level.YELLOW, Level.GREEN)
    monkeypatch.setenv("ANALYSIS_PROFILE", "lxpuls")
    assert "lxpuls" in next(iter(configuration.settings())).found


def test_sections_that_nobody_reads(configure: Configure) -> None:
    for known in ("docker_sandbox_image", "luigi_anything", "slurm"):
        configure(known)
    configure("my_store", base="root://a//x")
    assert list(configuration.sections()) == []
    configure("resorces", default="x")
    (found,) = configuration.sections()
    assert found == Finding(
        "law.cfg",
        Level.YELLOW,
        "nobody reads section resorces",
        "did you mean resources? Else remove it, or give it a base if it is a store",
    )
    configure("zzz")
    assert sorted(finding.advice for finding in configuration.sections())[1].startswith("remove it, or give")


def test_all_sections_of_our_files_are_known(configure: Configure) -> None:
    for path in (REPOSITORY / "law.cfg", *(REPOSITORY / "profiles").glob("*.cfg")):
        written = configparser.ConfigParser(delimiters=(":",), allow_no_value=True, interpolation=None)
        written.read(path)
        for name in written.sections():
            if not law.config.has_section(name):
                configure(name)
    assert list(configuration.sections()) == []


def test_the_index_of_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = configuration.task_index()
    assert (found.level, found.found) == (Level.YELLOW, f"{tmp_path} has none")
    (tmp_path / "index").write_text("a:A:\nb:B:\n")
    (tmp_path / "values").touch()
    (found,) = configuration.task_index()
    assert (found.level, found.found) == (Level.GREEN, f"2 tasks in {tmp_path / 'index'}")
    os.utime(tmp_path / "values", (1, 1))
    (found,) = configuration.task_index()
    assert found.level == Level.YELLOW
    assert found.found.endswith(f" is newer than {tmp_path / 'values'}")
    monkeypatch.setenv("ANALYSIS_JOB_BACKEND", "slurm")
    assert [finding.level for finding in configuration.task_index()] == [Level.GREY]
    monkeypatch.delenv("ANALYSIS_JOB_BACKEND")
    monkeypatch.delenv("LAW_HOME")
    assert [finding.level for finding in configuration.task_index()] == [Level.RED]


def test_what_setup_looks_at_as_well(tmp_path: Path) -> None:
    setup = (REPOSITORY / "setup.sh").read_text()
    for name in configuration._INDEXED:
        assert f'"${{base}}/{name}"' in setup
    for place in ("analysis/tasks/__pycache__", "analysis/engine"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "analysis" / "tasks" / "__pycache__" / "x.pyc").touch()
    assert configuration.newest(tmp_path, 1.0) is None
    (tmp_path / "analysis" / "engine" / "x.py").touch()
    assert configuration.newest(tmp_path, 1.0) == tmp_path / "analysis" / "engine" / "x.py"
