"""The best assignment of each event, by hand and with the AGC's own models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.columnar.assignments import FEATURE_COLUMNS, FeatureBlock, assignments, feature_blocks
from analysis.columnar.sources import NanoAODSource
from analysis.columnar.table import Table
from analysis.ml.evaluation import best_assignments, load_models
from tests.reference import agc


class First:
    """A model whose score is the first feature times a factor."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def inplace_predict(self, rows: Any) -> Any:
        return rows[:, 0] * np.float32(self.factor)


def block(rows: list[int], n_jets: int, best: list[int]) -> FeatureBlock:
    """Events whose given assignment has the largest first feature, 0.5, and another one the smallest, -0.75."""
    n = len(assignments(n_jets))
    features = np.zeros((len(rows), n, 20), np.float32)
    features[:, :, 1] = np.arange(n)
    for i, position in enumerate(best):
        features[i, position, 0] = 0.5
        features[i, (position + 1) % n, 0] = -0.75
    return FeatureBlock(np.array(rows), features)


def test_best_assignment_by_hand() -> None:
    blocks = [block([0, 3], 4, [8, 2]), block([2], 5, [33])]
    best = best_assignments(blocks, [First(1), First(-1)], np.array([10, 12, 14, 11]))
    # the last event has an odd number: the other model turns the order round
    assert best.jets.tolist() == [
        assignments(4)[8].tolist(),
        [-1, -1, -1, -1],
        assignments(5)[33].tolist(),
        assignments(4)[3].tolist(),
    ]
    np.testing.assert_array_equal(best.score, np.array([0.5, np.nan, 0.5, 0.75], np.float32))
    np.testing.assert_array_equal(best.features[:, 1], [8, np.nan, 33, 3])
    assert np.isnan(best.features[1]).all()
    assert best.features.shape == (4, 20)


def test_no_event_to_score() -> None:
    best = best_assignments([], [First(1), First(1)], np.array([1, 2]))
    assert np.isnan(best.score).all()
    assert (best.jets == -1).all()


def test_the_first_of_equal_scores_wins() -> None:
    tie = FeatureBlock(np.array([0]), np.ones((1, 12, 20), np.float32))
    assert best_assignments([tie], [First(1), First(1)], np.array([1])).jets.tolist() == [[1, 0, 2, 3]]


@pytest.fixture(scope="module")
def published(test_data: Path) -> list[Any]:
    """The AGC's models by fold: even events are scored by the model that learned from odd ones."""
    return load_models([(test_data / "agc" / "models" / f"model_{name}.json").read_bytes() for name in ("odd", "even")])


def test_models_of_the_agc_choose_the_same_jets_as_in_the_reference(test_data: Path, published: list[Any]) -> None:
    path = test_data / "nanoaod" / "ttbar_1000.root"
    events = [event for event in agc.read_events(path) if agc.region(event) == "4j2b"]
    table = Table(NanoAODSource(str(path)))
    table = table.filter(table["in_4j2b"])
    best = best_assignments(feature_blocks(table.records(FEATURE_COLUMNS)), published, np.asarray(table["event"]))
    for i, event in enumerate(events):
        rows = np.array(list(agc.features(event)), dtype=np.float32)
        scores = published[event["event"] % 2].inplace_predict(rows)
        assert best.score[i] == pytest.approx(max(scores), rel=1e-5)
        np.testing.assert_allclose(best.features[i], rows[scores.argmax()], rtol=1e-6, atol=1e-6)
        assert tuple(best.jets[i]) == agc.assignments(min(len(agc.jets(event)), 6))[scores.argmax()]
    assert len(events) == len(best.score) == 73
