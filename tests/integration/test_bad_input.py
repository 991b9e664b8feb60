"""Bad input ends with one sentence, a non-zero exit code, and nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from tests.chain import Law
from tests.integration.conftest import write_campaign

pytestmark = pytest.mark.integration


def columns(path: str) -> dict[str, ak.Array]:
    with uproot.open(path) as file:
        tree = file["Events"]
        return dict(tree.arrays([k for k in tree.keys() if not k.startswith("n")], how=dict))  # noqa: SIM118


def write(path: Path, content: dict[str, ak.Array], tree: str = "Events") -> None:
    with uproot.recreate(path) as file:
        file[tree] = content


def broken_file(kind: str, good: str, folder: Path) -> Path:
    path = folder / f"{kind}.root"
    content = columns(good)
    match kind:
        case "missing":
            pass
        case "not_root":
            path.write_text("this is no ROOT file")
        case "truncated":
            path.write_bytes(Path(good).read_bytes()[: Path(good).stat().st_size // 2])
        case "no_tree":
            write(path, content, tree="Particles")
        case "no_qgl":
            write(path, {name: values for name, values in content.items() if name != "Jet_qgl"})
        case "empty":
            write(path, {name: values[:0] for name, values in content.items()})
        case _:
            pt = ak.to_numpy(ak.flatten(content["Jet_pt"])).copy()
            pt[5] = {"nan": np.nan, "infinity": np.inf}[kind]
            write(path, {**content, "Jet_pt": ak.unflatten(pt, ak.num(content["Jet_pt"]))})
    return path


def check_failure(finished: subprocess.CompletedProcess[str], *words: str) -> None:
    assert finished.returncode != 0
    assert "Traceback" not in finished.stderr
    assert finished.stdout == ""
    for word in words:
        assert word in finished.stderr


def leftovers(store: Path) -> list[Path]:
    return list(store.rglob("*.part"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", ["InputFileError", "does not exist"]),
        ("not_root", ["InputFileError", "not ROOT"]),
        ("truncated", ["InputFileError", "truncated"]),
        ("no_tree", ["InputFileError", "no Events tree", "Particles"]),
        ("no_qgl", ["MissingColumnError", "Jet_qgl"]),
        ("empty", ["InputFileError", "no events"]),
        ("nan", ["NonFiniteColumnError", "Jet_pt"]),
        ("infinity", ["NonFiniteColumnError", "Jet_pt"]),
    ],
)
def test_broken_file_stops_the_run_and_a_rerun_goes_on(
    law: Law, small_files: dict[str, list[str]], tmp_path: Path, kind: str, words: list[str]
) -> None:
    good, other = small_files["ttbar"][:2]
    path = broken_file(kind, good, tmp_path)
    campaign = write_campaign(tmp_path / "broken.yaml", {"ttbar": [str(path), other]})
    run = ("ReduceEvents", "--campaign", campaign, "--dataset", "ttbar")
    check_failure(law(*run), *words, str(path))
    assert leftovers(law.store) == []
    assert not list(law.store.rglob("events_*.parquet"))

    path.unlink(missing_ok=True)
    path.write_bytes(Path(good).read_bytes())
    finished = law.succeed(*run)
    assert list(law.store.rglob("events_0.parquet"))
    assert "ReduceEvents ttbar branch 0: done" in finished.stderr


def test_file_without_a_required_column(law: Law, test_data: Path, tmp_path: Path) -> None:
    path = test_data / "nanoaod/broken_no_luminosityblock_2.root"
    campaign = write_campaign(tmp_path / "c.yaml", {"ttbar": [str(path)]})
    check_failure(
        law("ReduceEvents", "--campaign", campaign, "--dataset", "ttbar"),
        "MissingColumnError",
        "luminosityBlock",
        str(path),
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["SelectEvents", "--dataset", "tbar"], ["unknown data set 'tbar'", "did you mean 'ttbar'"]),
        (["ProduceColumns", "--dataset", "ttbar", "--shift", "pt_scale"], ["did you mean 'pt_scale_up'"]),
        (["Report", "--campaign", "agc_2016"], ["did you mean 'agc_2015'"]),
        (["Report", "--campaign", "nowhere.yaml"], ["nowhere.yaml", "cannot be read"]),
        (["PlotVariables", "--variables", "htt"], ["did you mean 'ht'"]),
        (["SelectEvents", "--dataset", "ttbar", "--branch", "99"], ["has no branch 99"]),
        (["SelectEvents", "--dataset", "ttbar", "--workflow", "htcondorr"], ["--workflow htcondorr"]),
        (["TrainModel", "--folds", "1"], ["--folds is 1"]),
        (["FitModel", "--histograms", "nowhere.json"], ["nowhere.json", "does not exist"]),
        (["SelectEvents"], ["'dataset' parameter"]),
    ],
)
def test_wrong_parameter(law: Law, arguments: list[str], words: list[str]) -> None:
    check_failure(law(*arguments), *words)
    assert not law.store.exists()


def test_misspelt_key_of_a_campaign_file(law: Law, tmp_path: Path) -> None:
    path = write_campaign(tmp_path / "c.yaml", {"ttbar": ["a.root"]}, luminosty=1)
    check_failure(law("PlotCutflow", "--campaign", path), "unknown key 'luminosty'", "did you mean 'luminosity'")


def test_store_that_cannot_be_written(law: Law, small_files: dict[str, list[str]], tmp_path: Path) -> None:
    law.store.write_text("a file where the store should be")
    campaign = write_campaign(tmp_path / "c.yaml", small_files)
    check_failure(law("IndexFiles", "--campaign", campaign, "--dataset", "ttbar"), "StoreError", "ANALYSIS_STORE")
    assert law.store.read_text() == "a file where the store should be"


def test_campaign_without_the_signal_cannot_be_fitted(
    law: Law, small_files: dict[str, list[str]], tmp_path: Path
) -> None:
    campaign = write_campaign(tmp_path / "c.yaml", {"wjets": small_files["wjets"]}, machine_learning=False)
    check_failure(law("FitModel", "--campaign", campaign), "BuildModel: ", "ttbar")


def test_killed_run_goes_on_where_it_was(law: Law, small_files: dict[str, list[str]], tmp_path: Path) -> None:
    campaign = write_campaign(tmp_path / "c.yaml", small_files, machine_learning=False)
    run = ("MergeHistograms", "--campaign", campaign, "--dataset", "ttbar")
    process = subprocess.Popen(
        law.command(*run), env=law.environment(), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("SelectEvents ttbar branch 1: done"):
            os.killpg(process.pid, signal.SIGKILL)  # with the helper that law would leave behind
            break
    process.wait()
    process.stderr.close()
    finished = law.succeed(*run)
    assert "SelectEvents ttbar branch 0: done" not in finished.stderr
    assert "SelectEvents ttbar branch 1: done" not in finished.stderr
    assert "MergeHistograms ttbar: done" in finished.stderr
    assert leftovers(law.store) == []
