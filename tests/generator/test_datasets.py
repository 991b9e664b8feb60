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
