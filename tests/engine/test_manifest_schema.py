"""The JSON Schema of manifests is what the engine writes: no field more, none less."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from analysis.engine import manifest as module
from analysis.engine.manifest import FOLDER, HISTORY, SCHEMA, Adoption, Manifest, OutputRecord
from analysis.engine.recipe import Recipe
from tests.engine.toys import Toy, run_all

DOCUMENT: dict[str, Any] = json.loads(Path(module.__file__).with_name("manifest.schema.json").read_text())
VALIDATOR = Draft202012Validator(DOCUMENT)

# all that a manifest can say; the values are those of a run of the chain, shortened
FULL: dict[str, Any] = {
    "accounting": {"events_in": 15000, "events_out": 4091, "sum_of_weights": 15000.0},
    "adopted": [
        {
            "when": "2026-11-21T03:44:07+00:00",
            "who": "me@here",
            "why": "accepted",
            "recipe": "89ed5fc79300b0ca7ed0",
        }
    ],
    "branch": 0,
    "inputs": {"IndexFiles ttbar branch 0": "037dd6bbb515f7783dab"},
    "outputs": [{"path": "v1/demo/SelectEvents/ttbar/cutflow_0.json", "size": 649, "adler32": "29eaafb5"}],
    "parameters": {"campaign": "demo", "dataset": "ttbar", "version": "v1"},
    "provenance": {
        "backend": "local",
        "finished": "2026-11-21T03:41:01+00:00",
        "git_commit": "8057d82be466",
        "git_dirty": False,
        "host": "here",
        "job": None,
        "started": "2026-11-21T03:41:01+00:00",
        "store": {"name": "wlcg_fs", "kind": "wlcg", "qos": "CHEAP-ANALYSIS"},
        "versions": {"python": "3.11.7", "law": "0.1.21", "luigi": "3.8.1"},
    },
    "recipe": {
        "branch": [0, 0, 15000],
        "code": {"analysis.columnar.objects": "fb8ae7473327d381", "revision": "1"},
        "external": {"nano.root": "88421:6c3b2d0e-5a43-11f0-8c1b-0242ac110002"},
        "parameters": {"campaign": "demo", "dataset": "ttbar"},
        "requirements": {"IndexFiles ttbar branch 0": "00b0ca7ed0c382a7056c"},
        "sandbox": {"awkward": "2.14.0"},
        "settings": {"Dataset ttbar.is_data": False, "selection": ["one_lepton", "four_jets"]},
        "task": "SelectEvents",
        "version": 1,
    },
    "resources": {"cpu_seconds": 0.065, "peak_memory_bytes": 368050176.0, "wall_seconds": 0.065},
    "schema": 2,
    "spans": [["ttbar_0.root (file 0)", 0, 15000]],
    "stale_inputs": ["IndexFiles ttbar"],
    "warnings": ["UserWarning: careful"],
}
CLOSED = ("", "recipe", "outputs/0", "adopted/0", "provenance", "provenance/store", "resources")
"""Objects in which every name is fixed."""


def at(content: Any, path: str) -> Any:
    for part in filter(None, path.split("/")):
        content = content[int(part) if part.isdigit() else part]
    return content


def schema_at(path: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT
    for part in filter(None, path.split("/")):
        found = found["items"] if part.isdigit() else found["properties"][part]
    return found


def names(cls: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def properties(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All properties of a schema, at any depth, by path."""
    for name, entry in schema.get("properties", {}).items():
        yield f"{where}/{name}", entry
        yield from properties(entry, f"{where}/{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield f"{where}/{key}", schema[key]
            yield from properties(schema[key], f"{where}/{key}")
    for number, entry in enumerate(schema.get("prefixItems", [])):
        yield f"{where}/{number}", entry


def sentences(content: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(content)]


def test_schema_is_one() -> None:
    Draft202012Validator.check_schema(DOCUMENT)
    assert DOCUMENT["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_version_of_the_record() -> None:
    assert schema_at("schema") == {"const": SCHEMA, "description": "version of this record"}


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("", names(Manifest)),
        ("recipe", names(Recipe)),
        ("outputs/0", set(OutputRecord._fields)),
        ("adopted/0", set(Adoption._fields)),
    ],
)
def test_fields_are_those_of_the_class(path: str, fields: set[str]) -> None:
    schema = schema_at(path)
    assert schema["properties"].keys() == fields
    assert set(schema["required"]) == fields
    assert schema["additionalProperties"] is False


def test_example_has_all_fields_and_is_read_as_it_is() -> None:
    assert sentences(FULL) == []
    content = json.loads(Manifest.from_bytes(json.dumps(FULL).encode(), "example").to_bytes())
    assert content == FULL


@pytest.mark.parametrize("path", CLOSED)
def test_unknown_field(path: str) -> None:
    content = copy.deepcopy(FULL)
    at(content, path)["colour"] = "red"
    assert sentences(content) == ["Additional properties are not allowed ('colour' was unexpected)"]


NEEDED = [(path, name) for path in CLOSED for name in sorted(at(FULL, path)) if (path, name) != ("provenance", "store")]


@pytest.mark.parametrize(("path", "name"), NEEDED)
def test_missing_field(path: str, name: str) -> None:
    content = copy.deepcopy(FULL)
    del at(content, path)[name]
    assert sentences(content) == [f"{name!r} is a required property"]


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("", "schema", SCHEMA + 1),
        ("", "branch", -1),
        ("", "branch", "0"),
        ("", "spans", [["file", 0]]),
        ("", "spans", [["file", 0, 1, 2]]),
        ("accounting", "events_in", "many"),
        ("accounting", "events_out", -1),
        ("adopted/0", "why", "because"),
        ("adopted/0", "when", "yesterday"),
        ("inputs", "IndexFiles ttbar branch 0", "037d"),
        ("outputs/0", "path", "/v1/demo/cutflow_0.json"),
        ("outputs/0", "size", 0),
        ("outputs/0", "adler32", "29EAAFB5"),
        ("parameters", "folds", 5),
        ("provenance", "git_dirty", "no"),
        ("provenance", "store", {"name": "tape", "kind": "tape", "qos": ""}),
        ("provenance", "store", {"name": "local", "kind": "local"}),
        ("provenance", "versions", {"python": "3.11.7", "law": "0.1.21"}),
        ("recipe", "version", "1"),
        ("recipe/code", "analysis.columnar.objects", "changed"),
        ("recipe/requirements", "IndexFiles ttbar branch 0", "00b0"),
        ("resources", "cpu_seconds", -1),
    ],
)
def test_value_that_cannot_be(path: str, name: str, value: Any) -> None:
    content = copy.deepcopy(FULL)
    at(content, path)[name] = value
    assert len(sentences(content)) == 1


def test_all_is_described_and_numbers_have_a_unit() -> None:
    dimensionless = {"/branch", "/recipe/version", "/schema"}
    found = dict(properties(DOCUMENT))
    assert len(found) > 50
    for path, schema in found.items():
        assert len(schema.get("description", "")) > 5 or path.endswith("/items"), path
        if {"number", "integer"} & {*([schema.get("type")] if isinstance(schema.get("type"), str) else [])}:
            assert path in dimensionless or "[" in schema["description"], path


def test_manifests_of_a_run(store: Path) -> None:
    run_all(Toy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Toy, "revision", 1)  # another recipe
        Toy(branch=1).run()
    found = [*store.glob(f"v1/Toy/{FOLDER}/*.json"), *store.glob(f"v1/Toy/{HISTORY}/*.json")]
    assert len(found) == 4
    for path in found:
        content = json.loads(path.read_text())
        assert sentences(content) == [], path
        assert content["provenance"].keys() == schema_at("provenance")["properties"].keys()
        assert content["resources"].keys() == schema_at("resources")["properties"].keys()


def test_manifests_of_one_store_only_stay_valid() -> None:
    content = copy.deepcopy(FULL)
    del content["provenance"]["store"]
    assert sentences(content) == []


def test_manifest_of_adopted_outputs(store: Path) -> None:
    assert not store.exists()
    run_all(Toy())
    made = Toy(branch=0).manifest()
    adopted = replace(
        made, adopted=(Adoption("2026-11-21T03:44:07+00:00", "me@here", "same inputs", str(made.file_name().recipe)),)
    )
    assert sentences(json.loads(adopted.to_bytes())) == []


@pytest.mark.integration
def test_manifests_of_the_whole_chain(demo_store: Path) -> None:
    found = list(demo_store.rglob(f"{FOLDER}/*.json"))
    assert len(found) > 100
    wrong = {path.name: sentences(json.loads(path.read_text())) for path in found}
    assert {name: problems for name, problems in wrong.items() if problems} == {}
