"""Counts of right triplets and histograms of scores, by hand."""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np

from analysis.ml.diagnostics import TripletCount, count_triplets, split_scores
from analysis.ml.training import TrainingSample

GOOD = [24, 6, -6, 24]
"""The hadronic top is made of jets 0, 1 and 3: bits 0b1011."""


def count(*events: tuple[list[int], list[int], int]) -> list[TripletCount]:
    parton, best, trijet = zip(*events, strict=True)
    return count_triplets(ak.Array(parton), np.array(best, dtype=np.int8), np.array(trijet))


def test_triplets_by_hand() -> None:
    assert count(
        (GOOD, [3, 0, 1], 0b1011),  # both right
        (GOOD, [1, 0, 3], 0b0111),  # the right jets in other roles count, the trijet is wrong
        (GOOD, [2, 0, 1], 0b1011),  # the classifier is wrong
        ([*GOOD, 100], [3, 0, 1], 0b11010),
        ([100, 100, *GOOD], [5, 2, 3], 0b101100),
        ([100, 100, *GOOD, 100, 100], [5, 2, 3], 0b11101100),
    ) == [TripletCount(4, 3, 2, 2), TripletCount(5, 1, 1, 0), TripletCount(6, 2, 2, 1)]


def test_events_that_are_not_matched_do_not_count() -> None:
    assert count(
        ([24, 24, 6, 100], [1, 0, 2], 0b0111),  # the leptonic b is missing
        ([24, 24, 24, -6], [1, 0, 2], 0b0111),
        ([24, 6, 6, -6], [1, 0, 2], 0b0111),
        ([100, 24, 24, 6, 100, 100, -6], [2, 1, 3], 0b1110),  # it is only the seventh jet
        (GOOD, [-1, -1, -1], 0b1011),  # the classifier was not applied
    ) == [TripletCount(4, 0, 0, 0), TripletCount(5, 0, 0, 0), TripletCount(6, 0, 0, 0)]


def test_scores_are_split_by_truth_and_by_fold() -> None:
    class Model:
        def inplace_predict(self, rows: Any) -> Any:
            return rows[:, 0]

    features = np.full((2, 12, 20), 0.1, np.float32)
    features[0, 3, 0], features[1, 7, 0] = 0.9, 0.7
    identity = np.array([[1, 1, 4], [1, 1, 5]])
    split = split_scores(TrainingSample(identity, features, np.array([3, 7])), Model(), 0, 2)
    # the model of fold 0 learned from the odd event
    expected = {"right_train": (17, 1), "right_test": (22, 1), "wrong_train": (2, 11), "wrong_test": (2, 11)}
    for name, (position, events) in expected.items():
        values = getattr(split, name).values(flow=True)[1:-1]
        assert values.sum() == events, name
        assert values[position] == events, name
