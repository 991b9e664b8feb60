"""What a chain has made, compared with what another run of it has made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from analysis.engine.manifest import Manifest
from tests.integration.test_concurrent import comparable


def check_same(made: Mapping[str, Manifest], expected: Mapping[str, Manifest]) -> int:
    """See that recipes, numbers and bits are the same; returns how many outputs were compared bit by bit."""
    assert made
    assert made.keys() <= expected.keys()  # other tests run other tasks in that store
    compared = 0
    for key, manifest in made.items():
        assert manifest.recipe == expected[key].recipe, key
        assert manifest.accounting == expected[key].accounting, key
        assert comparable(manifest) == comparable(expected[key]), key
        compared += sum(value is not None for value in comparable(manifest).values())
    return compared


def check_same_content(made: Mapping[str, Manifest], store: Path, other: Path) -> int:
    """See that ROOT files, which differ in dates and identifiers of their header, have the same content.

    Args:
        made: manifests of a store on a disk.
        store: that store.
        other: the one with which it is compared.

    Returns:
        How many files were compared.
    """
    names = [path for path in paths(made) if Path(path).suffix == ".root"]
    for name in names:
        found, wanted = (content(folder / name) for folder in (store, other))
        assert found.keys() == wanted.keys(), name
        for part, values in wanted.items():
            np.testing.assert_array_equal(found[part], values, err_msg=f"{name}: {part}")
    return len(names)


def check_clean(disk: Path) -> None:
    """See that nothing is left that is no output, manifest, or log."""
    assert not [path for path in disk.rglob("*") if path.name.endswith(".part") or ".lock" in path.name]


def paths(made: Mapping[str, Manifest]) -> list[str]:
    """Of all outputs."""
    return sorted(output.path for manifest in made.values() for output in manifest.outputs)


def content(path: Path) -> dict[str, Any]:
    """Arrays by name of all trees and histograms of a file."""
    found: dict[str, Any] = {}
    with uproot.open(path) as file:
        for key, kind in file.classnames(cycle=False).items():
            if kind == "TDirectory":
                continue
            if kind == "TTree":
                arrays = file[key].arrays(library="np")
                found |= {f"{key}.{name}": flat(values) for name, values in arrays.items()}
            else:
                found[f"{key}.values"] = file[key].values(flow=True)
                found[f"{key}.errors"] = file[key].errors(flow=True)
    assert found
    return found


def flat(values: np.ndarray) -> np.ndarray:
    """Array of lists as one of numbers: lengths, then what is in them."""
    if values.dtype != object:
        return values
    lists = [np.asarray(list(value) if not np.ndim(value) else value) for value in values]
    return np.concatenate([np.array([len(part) for part in lists]), *lists])
