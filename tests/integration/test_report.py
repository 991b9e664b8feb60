"""The whole chain of the generated campaign, as its user sees it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from analysis.config import get_campaign
from analysis.engine.manifest import Manifest, checksum
from tests.chain import Law

pytestmark = pytest.mark.integration

Demo = tuple[Law, subprocess.CompletedProcess[str]]
RESULT = re.compile(r"ttbar_norm = (\d\.\d{3}) \+- (\d\.\d{3})")


def test_last_lines_are_the_result_and_the_page(demo: Demo) -> None:
    _, finished = demo
    result, page = finished.stdout.splitlines()[-2:]
    found = RESULT.fullmatch(result)
    assert found is not None
    assert abs(float(found[1]) - 0.95) < 0.25  # what the toy is made to give, within two standard deviations
    assert 0.05 < float(found[2]) < 0.2
    assert page.startswith("report: ")
    assert Path(page.removeprefix("report: ")).stat().st_size > 100_000


def test_second_call_does_nothing(demo: Demo) -> None:
    law, finished = demo
    before = {path: path.stat().st_mtime_ns for path in law.store.rglob("*") if path.is_file()}
    again = law.succeed("Report")
    assert again.stdout.splitlines()[-2:] == finished.stdout.splitlines()[-2:]
    assert "done in" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in law.store.rglob("*") if path.is_file()} == before


def test_every_file_of_the_store_is_in_a_manifest(demo_store: Path) -> None:
    manifests = [Manifest.read(path) for path in demo_store.rglob("manifests/*.json")]
    recorded = {output.path: output for manifest in manifests for output in manifest.outputs}
    files = [p for p in demo_store.rglob("*") if p.is_file() and p.parent.name != "manifests"]
    assert {str(path.relative_to(demo_store)) for path in files} == recorded.keys()
    for path in files:
        record = recorded[str(path.relative_to(demo_store))]
        assert (record.size, record.adler32) == (path.stat().st_size, checksum(path))


def test_no_event_is_lost_or_doubled(demo_store: Path) -> None:
    campaign = get_campaign("demo")

    def accounted(task: str, dataset: str, key: str) -> float:
        folder = demo_store / "v1" / "demo" / task / dataset
        return sum(Manifest.read(path).accounting[key] for path in folder.rglob("manifests/*.json"))

    for name, dataset in campaign.datasets.items():
        declared = sum(file.entries or 0 for file in dataset.files)
        assert accounted("IndexFiles", name, "events_out") == declared
        assert accounted("SelectEvents", name, "events_in") == declared
        selected = accounted("SelectEvents", name, "events_out")
        assert 0 < selected < declared
        assert accounted("ReduceEvents", name, "events_out") == selected
        assert accounted("FillHistograms", name, "events_in") == selected


def test_all_histograms_of_the_agc_are_there(demo_store: Path, test_data: Path) -> None:
    import uproot

    with uproot.open(demo_store / "v1/demo/BuildModel/histograms.root") as file:
        names = set(file.keys(cycle=False))
    published = json.loads((test_data / "agc/reference/histos_1_file_per_process.json").read_text())
    assert names == set(published)
    assert len(names) == 124


def test_cutflow_is_a_table_on_standard_output(demo: Demo) -> None:
    law, _ = demo
    lines = law.succeed("PlotCutflow", "--dataset", "ttbar").stdout.splitlines()
    assert "step events sum of weights efficiency" in [" ".join(line.split()) for line in lines]
    row = next(line for line in lines if line.startswith("all events"))
    assert row.split()[2] == "60000"
    assert row.rstrip().endswith("100 %")


def test_published_histograms_are_fitted(law: Law, test_data: Path) -> None:
    finished = law.succeed("FitModel", "--histograms", test_data / "agc/reference/histos_1_file_per_process.json")
    found = RESULT.fullmatch(finished.stdout.splitlines()[-1])
    assert found is not None
    assert float(found[1]) == pytest.approx(0.9603, abs=0.003)
    assert float(found[2]) == pytest.approx(0.104, rel=0.1)
