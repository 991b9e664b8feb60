"""Good files of several kinds."""

from __future__ import annotations

import io
import math
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + bytes(17) + b"\x00\x00\x00\x00IEND\xaeB`\x82"
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\nstartxref\n9\n%%EOF\n"
PAGE = b"<!DOCTYPE html>\n<html lang='en'><body><table></table></body></HTML>\n "
TABLE = b"<table class='yields'>\n<tbody><tr><td>1</td></tr></tbody>\n</table>"


def staged(folder: Path, name: str, content: bytes) -> Path:
    path = folder / f".{name}.host-1.part"
    path.write_bytes(content)
    return path


def parquet_bytes() -> bytes:
    jets = [[{"pt": 30.0, "flavour": 5}, {"pt": math.nan, "flavour": 4}], [], [{"pt": math.inf, "flavour": 0}]]
    table = pa.table(
        {
            "entry": [0, 1, 2],
            "Jet": pa.array(jets, pa.large_list(pa.struct({"pt": pa.float32(), "flavour": pa.int32()}))),
            "features": [[[1.0, 2.0]], [[3.0, -math.inf], [math.nan, math.nan]], []],
            "score": [0.5, math.nan, None],
            "missing": pa.array([0.5, None, None], pa.float64()),
            "half": pa.array(np.array([1, np.nan, np.inf], np.float16)),
            "label": ["a", "b", "c"],
            "list": [[1.0], [2.0], [math.nan]],
            "item": pa.array(
                [{"list": 1.0, "item": math.nan}] * 3, pa.struct({"list": pa.float64(), "item": pa.float64()})
            ),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2)
    return sink.getvalue()


def root_bytes(folder: Path) -> bytes:
    path = folder / "made.root"
    with uproot.recreate(path) as file:
        file.mktree("Events", {"run": "int32", "Jet_pt": "var * float32"})
        file["Events"].extend({"run": np.arange(3, dtype=np.int32), "Jet_pt": ak.Array([[1.0], [], [2.0, 3.0]])})
        file["cutflow"] = np.histogram([1, 2])
    return path.read_bytes()


def npz_bytes() -> bytes:
    sink = io.BytesIO()
    np.savez(sink, scores=np.arange(3))
    return sink.getvalue()


def npy_bytes() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.arange(300.0))
    return sink.getvalue()
