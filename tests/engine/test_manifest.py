from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.errors import ManifestError
from analysis.engine.manifest import SCHEMA, Manifest, OutputRecord, checksum

MANIFEST = Manifest(
    task="SelectEvents",
    parameters={"dataset": "ttbar"},
    branch=3,
    outputs=(OutputRecord("v1/a.parquet", 12, "deadbeef"),),
    accounting={"events_in": 10.0},
    resources={"wall_seconds": 1.5},
    provenance={"host": "here"},
    warnings=("UserWarning: careful",),
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "manifests" / "3.json"
    MANIFEST.write(path)
    assert Manifest.read(path) == MANIFEST
    assert [p.name for p in path.parent.iterdir()] == ["3.json"]


def test_text_is_sorted_and_for_people(tmp_path: Path) -> None:
    path = tmp_path / "3.json"
    MANIFEST.write(path)
    content = json.loads(path.read_text())
    assert list(content) == sorted(content)
    assert path.read_text().count("\n") > 10


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '"text"', '{"schema": 1}', '{"schema": 1, "outputs": [{"path": 1}]}', "\x00"]
)
def test_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "0.json"
    path.write_text(text)
    with pytest.raises(ManifestError, match=r"0\.json is damaged"):
        Manifest.read(path)


def test_manifest_of_a_newer_version(tmp_path: Path) -> None:
    path = tmp_path / "0.json"
    MANIFEST.write(path)
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}'))
    with pytest.raises(ManifestError, match="newer version"):
        Manifest.read(path)


def test_checksum_of_known_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"Wikipedia")
    assert checksum(path) == "11e60398"  # the example of the encyclopedia's article on Adler-32


@given(content=st.binary(max_size=5000), copies=st.integers(1, 500))
def test_checksum_is_that_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, copies: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "checksum"
    path.write_bytes(content * copies)
    assert int(checksum(path), 16) == zlib.adler32(content * copies)
