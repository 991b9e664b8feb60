from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import law
import numpy as np
import pytest

from analysis.engine.storage.formatters import FormatError, UnsafeFormatError
from analysis.engine.storage.law_fs import target
from analysis.templates import dump_histogram, load_histogram
from tests.engine.storage.toy_server import ToyServer, toy_store

Make = Callable[[str], Any]


@pytest.fixture(params=["local", "remote"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a target of that name, on this machine and on a server."""
    if request.param == "local":
        return lambda name: law.LocalFileTarget(str(tmp_path / "v1" / name))
    (tmp_path / "server").mkdir()
    store = toy_store(ToyServer(tmp_path / "server"))
    return lambda name: target(store, store.root / "v1" / name)


@pytest.fixture
def allow_pickle() -> Iterator[None]:
    law.config.set("target", "allow_pickle", "True")
    yield
    law.config.remove_option("target", "allow_pickle")


def histogram() -> Any:
    from hist import Hist, axis, storage

    found = Hist(axis.Regular(3, 0, 1, name="x"), axis.StrCategory(["a", "b"], name="c"), storage=storage.Weight())
    found.fill([0.1, 0.5, 2.0], ["a", "b", "b"], weight=[1.0, 2.5, 3.0])
    return found


@pytest.mark.parametrize("name", ["h.json", "h.hist.json"])
def test_histogram(make: Make, name: str, tmp_path: Path) -> None:
    one = make(name)
    one.dump(histogram())
    assert one.load() == histogram()
    one.copy_to_local(str(tmp_path / "copy.json"))
    assert load_histogram(tmp_path / "copy.json") == histogram()


def test_histogram_that_a_task_wrote(tmp_path: Path) -> None:
    dump_histogram(histogram(), tmp_path / "h.json")
    assert law.LocalFileTarget(str(tmp_path / "h.json")).load() == histogram()


def test_json(make: Make) -> None:
    one = make("a.json")
    one.dump({"ä": [1, None]}, indent=1)
    assert one.load() == {"ä": [1, None]}
    assert one.load(formatter="json") == {"ä": [1, None]}


def test_not_what_it_should_be(make: Make) -> None:
    one = make("a.json")
    one.dump("{", formatter="text")
    with pytest.raises(FormatError, match="is not JSON"):
        one.load()
    one.dump({"x": 1})
    with pytest.raises(FormatError, match="is not a histogram in UHI JSON"):
        one.load(formatter="hist")
    with pytest.raises(FormatError, match="dict is none"):
        make("b.hist.json").dump({"x": 1})
    assert not make("b.hist.json").exists()


def test_parquet(make: Make) -> None:
    import awkward as ak

    events = ak.Array([{"x": 1, "jets": [{"pt": 1.5}, {"pt": 2.0}]}, {"x": 2, "jets": []}])
    one = make("a #*.parquet")
    one.dump(events, compression="zstd")
    found = one.load()
    assert found.to_list() == events.to_list()
    assert found.type == events.type
    assert one.load(columns=["x"]).fields == ["x"]


def test_npz(make: Make) -> None:
    one = make("a.npz")
    one.dump({"a": np.arange(3), "b": [[1.5]]})
    found = one.load()
    assert {name: array.tolist() for name, array in found.items()} == {"a": [0, 1, 2], "b": [[1.5]]}
    with pytest.raises(UnsafeFormatError, match="the array a is made of Python objects"):
        one.dump({"a": np.array([{}, []], dtype=object)})


def test_npz_with_a_pickle_in_it(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        law.LocalFileTarget(str(tmp_path / "a.npz")).load()


def test_root(make: Make) -> None:
    import awkward as ak

    one = make("a.root")
    counts = histogram()[:, "b"]
    tree = ak.Array({"x": [1.0, 2.0]})
    one.dump({"h": counts, "folder/t": tree, "u": {"y": np.arange(3)}})
    found = one.load()
    assert sorted(found) == ["folder/t", "h", "u"]
    assert found["h"].values().tolist() == counts.values().tolist() == [0, 2.5, 0]
    assert found["h"].variances().tolist() == [0, 6.25, 0]
    assert found["folder/t"].to_list() == tree.to_list()
    assert found["u"].y.to_list() == [0, 1, 2]
    assert list(one.load(names=["u"])) == ["u"]


@pytest.mark.parametrize("name", ["model.ubj", "model.xgb.json", "model.json"])
def test_xgboost(make: Make, name: str) -> None:
    xgboost: Any = importlib.import_module("xgboost")
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(x, y)
    one = make(name)
    one.dump(model, formatter="xgboost")
    found = one.load(formatter="xgboost", nthread=1)
    assert (found.predict(xgboost.DMatrix(x)) == model.predict(x)).all()
    if name == "model.ubj":
        assert one.load().num_boosted_rounds() == 3
    else:
        assert "learner" in one.load(formatter="json")


def test_torch(make: Make) -> None:
    """torch is in none of our environments; where somebody has it, it works."""
    one = make("a.pt")
    if importlib.util.find_spec("torch") is None:
        with pytest.raises(FormatError, match="needs torch, which is not installed"):
            one.dump({})
        return
    torch = importlib.import_module("torch")
    one.dump({"w": torch.ones(2)})
    assert one.load()["w"].tolist() == [1, 1]


@pytest.mark.parametrize("name", ["a.pkl", "a.pickle", "a.p"])
def test_pickle_is_refused(make: Make, name: str, tmp_path: Path) -> None:
    one = make(name)
    with pytest.raises(UnsafeFormatError, match="can run any program where it is read"):
        one.dump(1)
    assert not one.exists()
    for formatter in ("auto", "pickle"):
        one.dump("cos\nsystem\n(S'touch pwned'\ntR.", formatter="text")
        with pytest.raises(UnsafeFormatError, match="set 'allow_pickle: True' in the section target"):
            one.load(formatter=formatter)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.usefixtures("allow_pickle")
def test_pickle_if_allowed(make: Make) -> None:
    one = make("a.pkl")
    one.dump({"x": (1, 2)})
    assert one.load() == {"x": (1, 2)}


def test_others_are_still_of_law(make: Make) -> None:
    for name, content in (("a.txt", "text"), ("a.yaml", {"x": 1})):
        make(name).dump(content)
        assert make(name).load() == content
    law.contrib.load("numpy")  # has .npz as well, and comes later
    make("a.npz").dump({"a": np.arange(2)})
    assert json.dumps(make("a.npz").load()["a"].tolist()) == "[0, 1]"
