"""The chain on real events, by ``law run``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.chain import Law

pytestmark = pytest.mark.integration


def campaign(folder: Path, dataset: str, file: Path) -> Path:
    """Campaign file of one real file."""
    kind = {"is_data": True} if dataset == "data" else {"cross_section": 1.0}
    content = {"name": "real", "luminosity": 3378, "datasets": {dataset: {**kind, "files": [str(file)]}}}
    path = folder / "real.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def events(table: str) -> dict[str, int]:
    """Number of events by step, from the printed cutflow."""
    rows = [line.rsplit(maxsplit=4) for line in table.splitlines() if line.rstrip().endswith("%")]
    return {row[0].strip(): int(row[1]) for row in rows}


def test_known_counts_of_real_ttbar_events(law: Law, test_data: Path, tmp_path: Path) -> None:
    path = campaign(tmp_path, "ttbar", test_data / "nanoaod/ttbar_1000.root")
    printed = law.succeed("PlotCutflow", "--campaign", path, "--dataset", "ttbar").stdout
    assert events(printed) == {
        "all events": 1000,
        "exactly one lepton": 190,
        "at least four jets": 113,
        "at least one b-tagged jet": 108,
        "region 4j1b": 35,
        "region 4j2b": 73,
    }


@pytest.mark.parametrize(
    ("dataset", "file", "entries"),
    [
        ("ttbar", "ttbar_1000.root", 1000),
        ("wjets", "wjets_200.root", 200),
        ("ttbar", "ttbar_rntuple_10.root", 10),
        ("dy", "dy_40.root", 40),
    ],
)
def test_simulation_reaches_the_figures(
    law: Law, test_data: Path, tmp_path: Path, dataset: str, file: str, entries: int
) -> None:
    path = campaign(tmp_path, dataset, test_data / "nanoaod" / file)
    law.succeed("PlotVariables", "--campaign", path)
    assert {p.stem for p in law.store.rglob("PlotVariables/*.pdf")} == {"ht", "trijet_mass", "lepton_pt", "n_jets"}
    printed = law.succeed("PlotCutflow", "--campaign", path).stdout
    assert events(printed)["all events"] == entries


def test_collision_data_have_no_weights(law: Law, test_data: Path, tmp_path: Path) -> None:
    path = campaign(tmp_path, "data", test_data / "nanoaod/dimuon_data_40.root")
    law.succeed("MergeHistograms", "--campaign", path, "--dataset", "data")
    assert not list(law.store.rglob("ProduceColumns/data/*/weights"))
    printed = law.succeed("PlotCutflow", "--campaign", path).stdout
    assert events(printed)["all events"] == 40
    assert printed.splitlines()[4].split()[2:4] == ["40", "40"]
