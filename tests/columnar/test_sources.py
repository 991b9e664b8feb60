"""Files as they are, and as they should not be: every defect is one sentence that names the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from analysis.columnar.errors import ColumnError, InputFileError, MissingColumnError, NonFiniteColumnError
from analysis.columnar.select import select
from analysis.columnar.sources import ArraySource, NanoAODSource, ParquetSource, summarize_file, write_parquet
from analysis.columnar.table import Table
from analysis.config import NOMINAL
from tests.columnar.chain import dataset

PT = [[50.0, 40.0], [], [30.0]]


def write_root(path: Path, **columns: Any) -> Path:
    """A small NanoAOD file; uproot writes no plain lists without their lengths."""
    default: dict[str, Any] = {"event": np.array([1, 2, 3], dtype=np.uint64), "Jet": {"pt": PT, "eta": PT}}
    contents = default | columns
    branches = {
        name: ak.zip({k: ak.values_astype(ak.Array(v), np.float32) for k, v in value.items()})
        if isinstance(value, dict)
        else value
        for name, value in contents.items()
    }
    with uproot.recreate(path) as file:
        file.mktree(
            "Events", {name: ak.type(b).content if isinstance(b, ak.Array) else b.dtype for name, b in branches.items()}
        )
        file["Events"].extend(branches)
    return path


def assert_one_sentence(error: pytest.ExceptionInfo[Exception], *words: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_columns_have_the_names_that_physicists_say(tmp_path: Path) -> None:
    source = NanoAODSource(str(write_root(tmp_path / "good.root")))
    assert {"event", "Jet.pt", "Jet.eta"} <= set(source.available)
    assert len(source) == 3
    columns = source.read(["Jet.pt", "event"])
    assert {name: values.to_list() for name, values in columns.items()} == {"Jet.pt": PT, "event": [1, 2, 3]}
    assert source.read([]) == {}


def test_a_range_of_events(tmp_path: Path) -> None:
    source = NanoAODSource(str(write_root(tmp_path / "good.root")), 1, 3)
    assert len(source) == 2
    assert source.read(["event"])["event"].to_list() == [2, 3]


def test_summary(tmp_path: Path) -> None:
    path = write_root(tmp_path / "good.root", genWeight=np.array([1, -0.5, 2], dtype=np.float32))
    summary = summarize_file(str(path))
    assert summary.entries == 3
    assert summary.sum_of_weights == 2.5
    assert {"Jet_pt", "Jet_eta", "event", "genWeight"} <= set(summary.columns)
    with uproot.open(path) as file:
        assert summary.uuid == str(file.file.uuid)


def test_summary_without_generator_weights_counts_events(tmp_path: Path) -> None:
    assert summarize_file(str(write_root(tmp_path / "data.root"))).sum_of_weights == 3


@pytest.mark.parametrize(
    ("name", "entries"), [("ttbar_1000.root", 1000), ("ttbar_rntuple_10.root", 10), ("dimuon_data_40.root", 40)]
)
def test_summary_of_real_files(test_data: Path, name: str, entries: int) -> None:
    summary = summarize_file(str(test_data / "nanoaod" / name))
    assert summary.entries == entries
    assert len(summary.uuid) == 36
    assert {"Jet_pt", "event", "Muon_tightId"} <= set(summary.columns)
    if "data" in name:
        assert summary.sum_of_weights == entries


@pytest.mark.parametrize("read", [NanoAODSource, summarize_file])
def test_missing_file(tmp_path: Path, read: Any) -> None:
    path = tmp_path / "nowhere.root"
    with pytest.raises(InputFileError, match=r"nowhere\.root does not exist: correct the path") as caught:
        read(str(path))
    assert_one_sentence(caught, str(path))


@pytest.mark.parametrize("content", [b"", b"hello\n", b"root", b"\x00" * 5000, b"PAR1" * 300])
@pytest.mark.parametrize("read", [NanoAODSource, summarize_file])
def test_not_root(tmp_path: Path, read: Any, content: bytes) -> None:
    path = tmp_path / "text.root"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="cannot be read, it is damaged, truncated or not ROOT") as caught:
        read(str(path))
    assert_one_sentence(caught, str(path))


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        NanoAODSource(str(tmp_path))


@pytest.mark.parametrize("read", [NanoAODSource, summarize_file])
def test_no_event_tree(tmp_path: Path, read: Any) -> None:
    path = tmp_path / "other.root"
    with uproot.recreate(path) as file:
        file.mktree("Runs", {"run": np.uint32})
        file["Runs"].extend({"run": np.array([1], dtype=np.uint32)})
    with pytest.raises(InputFileError, match=r"holds no Events tree \(it holds Runs\)") as caught:
        read(str(path))
    assert_one_sentence(caught, str(path))


def test_no_events(tmp_path: Path) -> None:
    path = tmp_path / "empty.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"event": np.uint64})
    with pytest.raises(InputFileError, match="has no events: take it out of the campaign") as caught:
        summarize_file(str(path))
    assert_one_sentence(caught, str(path))


def test_missing_column(tmp_path: Path) -> None:
    source = NanoAODSource(str(write_root(tmp_path / "noqgl.root", Jet={"pt": PT, "qgll": PT})))
    with pytest.raises(MissingColumnError, match=r"has no column Jet_qgl \(did you mean Jet_qgll\?\), which") as caught:
        source.read(["Jet.pt", "Jet.qgl"])
    assert_one_sentence(caught, source.where)


def test_missing_column_without_a_close_name(tmp_path: Path) -> None:
    with pytest.raises(MissingColumnError, match=r"has no column xyz123, which this step uses: take the file out"):
        NanoAODSource(str(write_root(tmp_path / "good.root"))).read(["xyz123"])


def test_missing_column_behind_a_column_function(tmp_path: Path) -> None:
    """Each way to a column that the file lacks ends at the name of the file and the branch."""
    events = Table(NanoAODSource(str(write_root(tmp_path / "nojetid.root"))))
    for ask in (lambda: events["ht"], lambda: events["SelectedJet.pt"], lambda: events.prefetch(["n_jets"])):
        with pytest.raises(MissingColumnError, match=r"nojetid\.root has no column Jet_jetId"):
            ask()


def test_real_file_without_luminosity_blocks(test_data: Path) -> None:
    path = test_data / "nanoaod" / "broken_no_luminosityblock_2.root"
    with pytest.raises(MissingColumnError, match="has no column luminosityBlock") as caught:
        Table(NanoAODSource(str(path)))["jet_pt_res_up"]
    assert_one_sentence(caught, str(path))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_in_a_list(tmp_path: Path, bad: float) -> None:
    path = write_root(tmp_path / "nan.root", Jet={"pt": [[50.0, 40.0], [], [bad]], "eta": PT})
    source = NanoAODSource(str(path))
    assert source.read(["Jet.eta"])["Jet.eta"].to_list() == PT
    with pytest.raises(NonFiniteColumnError, match="column Jet_pt holds 1 values that are not finite") as caught:
        source.read(["Jet.eta", "Jet.pt"])
    assert_one_sentence(caught, str(path), "the first in entry 2:")


def test_values_that_are_not_finite_in_a_flat_column(tmp_path: Path) -> None:
    path = write_root(tmp_path / "nan.root", genWeight=np.array([1, np.nan, np.inf], dtype=np.float32))
    with pytest.raises(NonFiniteColumnError, match=r"column genWeight holds 2 values .* the first in entry 1:"):
        NanoAODSource(str(path)).read(["genWeight"])


def test_entries_are_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    path = write_root(tmp_path / "nan.root", Jet={"pt": [[50.0, 40.0], [], [np.nan]], "eta": PT})
    with pytest.raises(NonFiniteColumnError, match="the first in entry 2:"):
        NanoAODSource(str(path), 1, 3).read(["Jet.pt"])
    assert NanoAODSource(str(path), 0, 2).read(["Jet.pt"])["Jet.pt"].to_list() == PT[:2]


def test_sum_of_weights_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = write_root(tmp_path / "nan.root", genWeight=np.array([1, np.nan, 1], dtype=np.float32))
    with pytest.raises(NonFiniteColumnError, match=r"nan\.root: column genWeight holds 1 values"):
        summarize_file(str(path))


def read_everything(path: Path) -> None:
    data = dataset("ttbar")
    select(Table(NanoAODSource(str(path))), data, [NOMINAL])


@pytest.mark.parametrize("kept", [0.01, 0.1, 0.5, 0.9])
def test_truncated_file(test_data: Path, tmp_path: Path, kept: float) -> None:
    content = (test_data / "nanoaod" / "ttbar_1000.root").read_bytes()
    path = tmp_path / "truncated.root"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(InputFileError, match="cannot be read, it is damaged, truncated or not ROOT") as caught:
        read_everything(path)
    assert_one_sentence(caught, str(path))


def test_overwritten_file(test_data: Path, tmp_path: Path) -> None:
    """Zeros where the events are, as after a crash of the file system."""
    with uproot.open(test_data / "nanoaod" / "ttbar_1000.root") as file:
        seek = int(file["Events"]["Jet_pt"].member("fBasketSeek")[0])
    content = bytearray((test_data / "nanoaod" / "ttbar_1000.root").read_bytes())
    content[seek + 100 : seek + 600] = bytes(500)
    path = tmp_path / "damaged.root"
    path.write_bytes(content)
    with pytest.raises(InputFileError, match="cannot be read, it is damaged") as caught:
        read_everything(path)
    assert_one_sentence(caught, str(path))


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    jets = ak.zip({"pt": ak.Array(PT), "index": ak.Array([[0, 1], [], [0]])})
    path = tmp_path / "events.parquet"
    write_parquet(ak.zip({"event": [1, 2, 3], "Jet": jets}, depth_limit=1), path)
    return path


def test_parquet_and_back(parquet: Path) -> None:
    source = ParquetSource(parquet)
    assert set(source.available) == {"event", "Jet.pt", "Jet.index"}
    assert len(source) == 3
    columns = source.read(["Jet.index", "event"])
    assert {name: values.to_list() for name, values in columns.items()} == {
        "Jet.index": [[0, 1], [], [0]],
        "event": [1, 2, 3],
    }


def test_parquet_keeps_types(tmp_path: Path) -> None:
    types = {"a": "float32", "b": "float64", "c": "int8", "d": "bool", "e": "uint64"}
    path = tmp_path / "types.parquet"
    write_parquet(ak.zip({k: ak.values_astype(ak.Array([0, 1]), t) for k, t in types.items()}, depth_limit=1), path)
    columns = ParquetSource(path).read(types)
    assert {name: str(ak.to_numpy(values).dtype) for name, values in columns.items()} == types


def test_parquet_files_side_by_side(parquet: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    write_parquet(ak.zip({"ht": [90.0, 0.0, 30.0], "event": [7, 8, 9]}), other)
    columns = ParquetSource(parquet, other).read(["ht", "event"])
    assert columns["event"].to_list() == [1, 2, 3]
    assert columns["ht"].to_list() == [90, 0, 30]


def test_parquet_files_of_different_lengths(parquet: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    write_parquet(ak.zip({"ht": [90.0]}), other)
    with pytest.raises(ColumnError, match=r"rows are not aligned: .*events\.parquet has 3, .*other\.parquet has 1\."):
        ParquetSource(parquet, other)


def test_parquet_without_a_column(parquet: Path) -> None:
    with pytest.raises(ColumnError, match=r"events\.parquet has no column 'ht', and no column function makes it"):
        ParquetSource(parquet).read(["event", "ht"])


def test_parquet_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    write_parquet(ak.zip({"event": ak.Array([1, 2]), "Jet": ak.zip({"pt": [[1.0], []]})}, depth_limit=1)[:0], path)
    source = ParquetSource(path)
    assert len(source) == 0
    assert source.read(["Jet.pt"])["Jet.pt"].to_list() == []


def test_damaged_parquet(parquet: Path) -> None:
    parquet.write_bytes(parquet.read_bytes()[:-20])
    with pytest.raises(InputFileError, match=r"events\.parquet cannot be read, it is damaged, truncated") as caught:
        ParquetSource(parquet)
    assert_one_sentence(caught, str(parquet))


def test_memory_without_a_column() -> None:
    with pytest.raises(ColumnError, match=r"^here has no column a, c, and no column function makes it$"):
        ArraySource({"b": [1]}, "here").read(["c", "b", "a"])
