from __future__ import annotations

import math
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.engine.verify import Expectation, VerificationError, verify
from tests.engine.output_files import parquet_bytes, staged


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """Three rows in two row groups, with numbers that are not finite."""
    return staged(tmp_path, "events_0.parquet", parquet_bytes())


def test_parquet_as_expected(events: Path) -> None:
    columns = ("entry", "Jet", "Jet.pt", "Jet.flavour", "features", "item.list", "item.item", "list")
    finite = ("entry", "Jet.flavour", "missing", "label", "item.list")
    verify(events, "events_0.parquet", Expectation(entries=3, columns=columns, finite=finite))


def test_parquet_with_another_number_of_rows(events: Path) -> None:
    with pytest.raises(VerificationError, match=r"^events_0\.parquet has 3 rows, 4 were expected$"):
        verify(events, "events_0.parquet", Expectation(entries=4))
    with pytest.raises(VerificationError, match=r"^events_0\.parquet has 3 rows, 0 were expected$"):
        verify(events, "events_0.parquet", Expectation(entries=0))


@pytest.mark.parametrize("column", ["Jet.eta", "Jet.pt.x", "jet", "pt", "Jet.list.pt", "entr"])
def test_parquet_without_a_column(events: Path, column: str) -> None:
    for expectation in (Expectation(columns=("entry", column)), Expectation(finite=(column,))):
        with pytest.raises(VerificationError, match=rf"^events_0\.parquet has no column {column}$"):
            verify(events, "events_0.parquet", expectation)


def test_column_that_is_missing_twice_is_named_once(events: Path) -> None:
    with pytest.raises(VerificationError, match=r"has no column ht$"):
        verify(events, "events_0.parquet", Expectation(columns=("ht",), finite=("ht",)))


def test_rows_beyond_one_batch_count_once(tmp_path: Path) -> None:
    values = np.ones(70_000)
    values[[0, -1]] = math.nan
    lists = pa.LargeListArray.from_arrays(np.arange(len(values) + 1), pa.array(values))
    pq.write_table(pa.table({"pt": lists}), tmp_path / "a")
    with pytest.raises(VerificationError, match=r"column pt of a\.parquet has 2 values"):
        verify(tmp_path / "a", "a.parquet", Expectation(70_000, finite=("pt",)))


def test_long_lists_are_cut(events: Path) -> None:
    with pytest.raises(VerificationError, match=r"no column a, b, c, d, e and 2 more$"):
        verify(events, "events_0.parquet", Expectation(columns=tuple("abcdefg")))


@pytest.mark.parametrize(
    ("column", "problem"),
    [
        ("Jet.pt", "2 values that are not finite"),
        ("Jet", "2 values that are not finite"),
        ("features", "3 values that are not finite"),
        ("score", "1 value that is not finite"),
        ("half", "2 values that are not finite"),
        ("list", "1 value that is not finite"),
        ("item.item", "3 values that are not finite"),
    ],
)
def test_parquet_with_values_that_are_not_finite(events: Path, column: str, problem: str) -> None:
    with pytest.raises(VerificationError, match=rf"^column {column} of events_0\.parquet has {problem}$"):
        verify(events, "events_0.parquet", Expectation(finite=("entry", column)))


def test_parquet_of_tensors(tmp_path: Path) -> None:
    values = np.array([[1.0, np.nan], [np.inf, 2.0]])
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    pq.write_table(pa.table({"matrix": tensors}), tmp_path / "a")
    with pytest.raises(VerificationError, match=r"column matrix of a\.parquet has 2 values"):
        verify(tmp_path / "a", "a.parquet", Expectation(finite=("matrix",)))


def test_parquet_that_awkward_wrote(tmp_path: Path) -> None:
    from analysis.columnar.sources import write_parquet

    array = ak.Array({"ht": [1.0, 2.0], "Jet": [[{"pt": 1.0, "btag": math.nan}], []]})
    write_parquet(array, tmp_path / "a")
    verify(tmp_path / "a", "a.parquet", Expectation(2, columns=("Jet.btag",), finite=("ht", "Jet.pt")))
    with pytest.raises(VerificationError, match=r"column Jet\.btag of a\.parquet has 1 value"):
        verify(tmp_path / "a", "a.parquet", Expectation(finite=("Jet.btag",)))


def test_damage_between_the_ends_of_parquet_is_seen_where_values_are_read(events: Path) -> None:
    content = bytearray(events.read_bytes())
    content[4:60] = bytes(56)  # pages of the first column
    events.write_bytes(content)
    verify(events, "events_0.parquet", Expectation(entries=3, columns=("entry",)))
    with pytest.raises(VerificationError, match=r"^events_0\.parquet cannot be read"):
        verify(events, "events_0.parquet", Expectation(finite=("entry",)))


def test_empty_table(tmp_path: Path) -> None:
    pq.write_table(pa.table({"ht": pa.array([], pa.float64())}), tmp_path / "a")
    verify(tmp_path / "a", "a.parquet", Expectation(0, ("ht",), ("ht",)))
