"""Results depend on the events and on nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis.templates import load_histogram
from tests.chain import Law
from tests.integration.conftest import write_campaign

pytestmark = pytest.mark.integration

Files = dict[str, list[str]]


def histograms(law: Law, campaign: Path, *arguments: str) -> dict[str, bytes]:
    """Merged histogram files of both data sets, by data set and variable."""
    for dataset in ("ttbar", "wjets"):
        law.succeed("MergeHistograms", "--campaign", campaign, "--dataset", dataset, *arguments)
    found = {}
    for path in sorted(law.store.rglob("MergeHistograms/*/**/*.json")):
        if path.parent.name != "manifests":
            dataset = "ttbar" if "ttbar" in path.parts else "wjets"
            found[f"{dataset}/{path.name}"] = path.read_bytes()
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, small_files: Files) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("reference")
    (folder / "law_home").mkdir()
    law = Law(folder / "store", folder / "law_home")
    found = histograms(law, write_campaign(folder / "small.yaml", small_files))
    assert len(found) == 2 * 25
    return found


def test_second_run_with_two_workers_is_bit_identical(
    law: Law, small_files: Files, reference: dict[str, bytes]
) -> None:
    campaign = write_campaign(law.home.parent / "small.yaml", small_files)
    assert histograms(law, campaign, "--workers", "2") == reference


def test_order_of_files_does_not_matter(law: Law, small_files: Files, reference: dict[str, bytes]) -> None:
    turned = {name: paths[::-1] for name, paths in small_files.items()}
    assert histograms(law, write_campaign(law.home.parent / "small.yaml", turned)) == reference


def test_chunk_size_does_not_matter(law: Law, small_files: Files, reference: dict[str, bytes], tmp_path: Path) -> None:
    declared = {name: [{"path": p, "entries": 1500} for p in paths] for name, paths in small_files.items()}
    campaign = write_campaign(law.home.parent / "small.yaml", declared)  # type: ignore[arg-type]
    found = histograms(law, campaign, "--chunk-size", "400", "--merge-chunks", "3")
    assert found.keys() == reference.keys()
    chunks = list(law.store.rglob("SelectEvents/ttbar/chunk_size_400/selection_*.parquet"))
    assert len(chunks) == 3 * 4
    assert list(law.store.rglob("MergeHistograms/ttbar/chunk_size_400/merge_chunks_3/ht.json"))
    for name, content in reference.items():
        np.testing.assert_allclose(parse(found[name], tmp_path), parse(content, tmp_path), rtol=1e-12)
    assert parse(reference["ttbar/bdt_score.json"], tmp_path)[0].sum() > 0


def parse(content: bytes, folder: Path) -> np.ndarray:
    """Contents and variances with flow bins, shape ``(2, shifts, bins + 2)``."""
    path = folder / "histogram.json"
    path.write_bytes(content)
    histogram = load_histogram(path)
    return np.stack([histogram.values(flow=True), np.asarray(histogram.variances(flow=True))])


@pytest.mark.parametrize("folds", [2, 10])
def test_number_of_folds_is_a_parameter(law: Law, small_files: Files, folds: int) -> None:
    campaign = write_campaign(law.home.parent / "small.yaml", small_files)
    law.succeed("PlotTraining", "--campaign", campaign, "--folds", str(folds))
    models = [p for p in law.store.rglob("model_*.json") if p.parent.name != "manifests"]
    assert len(models) == folds
    assert len({path.read_bytes() for path in models}) == folds
