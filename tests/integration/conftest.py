"""Chains that run for real, by ``law run`` in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from analysis.config import get_campaign
from analysis.generator import write_nanoaod
from tests.chain import Law


@pytest.fixture
def law(tmp_path: Path) -> Law:
    """An empty store."""
    home = tmp_path / "law_home"
    home.mkdir()
    return Law(tmp_path / "store", home)


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
    demo = get_campaign("demo").datasets
    datasets = {
        name: {
            "cross_section": demo[name].cross_section,
            "filter_efficiency": demo[name].filter_efficiency,
            "files": paths,
        }
        for name, paths in files.items()
    }
    content = {"name": "small", "luminosity": 3378, "datasets": datasets, "machine_learning": True, **settings}
    path.write_text(yaml.safe_dump(content))
    return path
