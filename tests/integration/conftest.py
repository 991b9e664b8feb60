"""Chains that run for real, by ``law run`` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from analysis.generator import DATASETS, write_nanoaod

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Law:
    """Runs ``law`` against one store."""

    store: Path
    home: Path

    def environment(self) -> dict[str, str]:
        """Environment as ``setup.sh`` makes it."""
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "ANALYSIS_BASE": str(REPOSITORY),
            "ANALYSIS_STORE": str(self.store),
            "LAW_HOME": str(self.home),
            "LAW_CONFIG_FILE": str(REPOSITORY / "law.cfg"),
        }

    def __call__(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """``law run`` with arguments."""
        return subprocess.run(
            self.command(*arguments), env=self.environment(), capture_output=True, text=True, check=False
        )

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line."""
        family, *others = (str(argument) for argument in arguments)
        return [sys.executable, "-m", "law", "run", f"analysis.tasks.{family}", *others]

    def succeed(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """``law run`` that has to end well."""
        finished = self(*arguments)
        assert finished.returncode == 0, finished.stderr
        return finished


@pytest.fixture
def law(tmp_path: Path) -> Law:
    """An empty store."""
    home = tmp_path / "law_home"
    home.mkdir()
    return Law(tmp_path / "store", home)


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


@pytest.fixture(scope="session")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Three small generated files of ttbar and two of W+jets, by data set."""
    folder = tmp_path_factory.mktemp("small")
    files: dict[str, list[str]] = {}
    for dataset, n_files in (("ttbar", 3), ("wjets", 2)):
        for i in range(n_files):
            path = folder / f"{dataset}_{i}.root"
            write_nanoaod(path, dataset, 1500, seed=3, first_event=1500 * i)
            files.setdefault(dataset, []).append(str(path))
    return files


def write_campaign(path: Path, files: dict[str, list[str]], **settings: object) -> Path:
    """Campaign file of generated files."""
    datasets = {
        name: {
            "cross_section": DATASETS[name].cross_section,
            "filter_efficiency": DATASETS[name].filter_efficiency,
            "files": paths,
        }
        for name, paths in files.items()
    }
    content = {"name": "small", "luminosity": 3378, "datasets": datasets, "machine_learning": True, **settings}
    path.write_text(yaml.safe_dump(content))
    return path
