from __future__ import annotations

import json
import zlib
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.engine.errors import ManifestError
from analysis.engine.manifest import SCHEMA, Adoption, Manifest, ManifestName, OutputRecord, checksum, seal
from analysis.engine.recipe import Digest, Recipe, digest_of

MANIFEST = Manifest(
    recipe=Recipe("SelectEvents", {"dataset": "ttbar"}, {"module": "12ab"}, branch=[0, 500], external={"a": "uuid"}),
    outputs=(OutputRecord("v1/a.parquet", 12, "deadbeef"), OutputRecord("v1/b.json", 7, "00000001")),
    parameters={"dataset": "ttbar", "version": "v1"},
    branch=3,
    inputs={"IndexFiles": "0123"},
    accounting={"events_in": 10.0},
    spans=(("a.root", 0, 500),),
    resources={"wall_seconds": 1.5},
    provenance={"host": "here", "versions": {"law": "0.1"}},
    warnings=("UserWarning: careful",),
    stale_inputs=("IndexFiles",),
    adopted=(Adoption("2026-01-01", "me@here", "accepted", "ab" * 10),),
)

HEX = st.text("0123456789abcdef", min_size=10, max_size=10)
NAMES = st.builds(
    ManifestName,
    st.none() | st.integers(0, 10**6),
    st.builds(Digest, HEX, HEX),
    st.text("0123456789abcdef", min_size=8, max_size=8),
    st.integers(1, 99),
)
SIZES = st.dictionaries(st.text("abc/._", min_size=1), st.integers(0, 10**12), max_size=4)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / str(MANIFEST.file_name())
    path.write_bytes(MANIFEST.to_bytes())
    assert Manifest.read(path) == MANIFEST
    assert Manifest.read(path).to_bytes() == MANIFEST.to_bytes()


def test_nothing_is_left_at_its_default() -> None:
    # or the round trip would not show that it is lost
    default = Manifest(MANIFEST.recipe, MANIFEST.outputs)
    same = {f.name for f in fields(Manifest) if getattr(default, f.name) == getattr(MANIFEST, f.name)}
    assert same == {"recipe", "outputs", "schema"}


def test_text_is_sorted_and_for_people() -> None:
    text = MANIFEST.to_bytes().decode()
    content = json.loads(text)
    assert list(content) == sorted(content)
    assert text.endswith("}\n")
    assert text.count("\n") > 10
    assert content["outputs"][0] == {"adler32": "deadbeef", "path": "v1/a.parquet", "size": 12}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '"text"',
        '{"schema": 1}',
        f'{{"schema": {SCHEMA}, "outputs": [{{"path": 1}}]}}',
        "\x00",
        "[" * 100,
        MANIFEST.to_bytes().decode()[:-20],
        MANIFEST.to_bytes().decode().replace('"recipe": {', '"recipe": {"unknown": 1,'),
        MANIFEST.to_bytes().decode().replace('"warnings"', '"unknown"'),
        MANIFEST.to_bytes().decode().replace(f'"schema": {SCHEMA}', '"schema": "new"'),
    ],
)
def test_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "0.json"
    path.write_text(text)
    with pytest.raises(ManifestError, match=r"0\.json is damaged .*: remove it, and the task that wrote it runs again"):
        Manifest.read(path)


def test_manifest_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "0.json"
    path.write_bytes(b"\xff\xfe\x80")
    with pytest.raises(ManifestError, match="is damaged"):
        Manifest.read(path)


def test_manifest_of_a_newer_version() -> None:
    content = replace(MANIFEST, schema=SCHEMA + 1).to_bytes()
    with pytest.raises(
        ManifestError, match=rf"^manifest here was .* newer version .*schema {SCHEMA + 1}, known is {SCHEMA}"
    ):
        Manifest.from_bytes(content, "here")


def test_name_tells_branch_recipe_sizes_and_schema() -> None:
    name = MANIFEST.file_name()
    assert name.branch == 3
    assert name.recipe == digest_of(MANIFEST.recipe)
    assert name.seal == seal({"v1/a.parquet": 12, "v1/b.json": 7}, len(MANIFEST.to_bytes()))
    assert str(name) == f"3.{name.recipe.own}.{name.recipe.upstream}.{name.seal}.v{SCHEMA}.json"
    assert str(replace(MANIFEST, branch=None).file_name()).startswith("task.")


@given(NAMES)
def test_names_can_be_read_back(name: ManifestName) -> None:
    assert ManifestName.parse(str(name)) == name


@given(st.text() | NAMES.map(lambda name: f"{name}x") | NAMES.map(lambda name: f".{name}"))
def test_what_is_no_name_is_none(text: str) -> None:
    assert ManifestName.parse(text) is None


@given(SIZES, st.integers(0, 10**6), st.randoms())
def test_seal_does_not_depend_on_order(sizes: dict[str, int], size: int, random: object) -> None:
    items = list(sizes.items())
    random.shuffle(items)  # type: ignore[attr-defined]
    assert seal(dict(items), size) == seal(sizes, size)
    assert len(seal(sizes, size)) == 8


@given(SIZES.filter(bool), st.integers(0, 10**6), st.integers(1, 10**6), st.data())
def test_any_other_size_breaks_the_seal(sizes: dict[str, int], size: int, more: int, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(sizes)))
    whole = seal(sizes, size)
    assert seal({**sizes, path: sizes[path] + more}, size) != whole
    assert seal({p: s for p, s in sizes.items() if p != path}, size) != whole
    assert seal(sizes, size + more) != whole


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
