from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from analysis.generator import DATASETS, UnknownDatasetError
from analysis.generator.datasets import find_dataset

if TYPE_CHECKING:
    from pathlib import Path


def test_cross_sections_are_those_of_the_agc() -> None:
    expected = {
        "ttbar": 396.87 + 332.97,
        "ttbar_scaleup": 729.84,
        "ttbar_scaledown": 729.84,
        "ttbar_ME_var": 729.84,
        "ttbar_PS_var": 729.84,
        "single_top_s_chan": 2.0268 + 1.2676,
        "single_top_t_chan": (36.993 + 22.175) / 0.252,
        "single_top_tW": 37.936 + 37.906,
        "wjets": 61457 * 0.252,
    }
    assert {name: dataset.cross_section for name, dataset in DATASETS.items()} == pytest.approx(expected, abs=1e-3)


def test_every_sample_of_the_agc_has_a_dataset(test_data: Path) -> None:
    inputs = json.loads((test_data / "agc" / "nanoaod_inputs.json").read_text())
    samples = {
        process if variation == "nominal" else f"{process}_{variation}"
        for process, variations in inputs.items()
        for variation in variations
    }
    assert set(DATASETS) == samples


def test_an_unknown_dataset_is_refused_with_the_choice() -> None:
    with pytest.raises(
        UnknownDatasetError, match=r"^The generator has no dataset 'zjets'; choose one of ttbar, .*wjets"
    ):
        find_dataset("zjets")


def test_importing_the_table_needs_no_numpy() -> None:
    code = "import sys, analysis.generator; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
