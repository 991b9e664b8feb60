"""No event is in the training set of the model that scores it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.ml.folds import FoldError, fold_of, trains_on

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=50)
event_numbers = st.lists(st.integers(0, 2**64 - 1), max_size=30).map(lambda numbers: np.array(numbers, dtype=np.uint64))


@deterministic
@given(event_numbers, st.integers(2, 10))
def test_no_event_is_in_its_own_training_set(events: np.ndarray, folds: int) -> None:
    own = fold_of(events, folds)
    assert own.shape == events.shape
    assert ((own >= 0) & (own < folds)).all()
    learns = np.array([trains_on(events, fold, folds) for fold in range(folds)])
    assert not learns[own, np.arange(len(events))].any()
    assert (learns.sum(axis=0) == folds - 1).all()


@deterministic
@given(event_numbers, st.integers(2, 10))
def test_the_fold_of_an_event_does_not_depend_on_the_others(events: np.ndarray, folds: int) -> None:
    order = np.random.default_rng(0).permutation(len(events))
    assert fold_of(events, folds)[order].tolist() == fold_of(events[order], folds).tolist()
    assert [fold_of(events[i : i + 1], folds)[0] for i in range(len(events))] == fold_of(events, folds).tolist()


def test_two_folds_are_the_split_by_parity() -> None:
    assert fold_of(np.array([2, 3, 4]), 2).tolist() == [0, 1, 0]
    assert trains_on(np.array([2, 3, 4]), 0, 2).tolist() == [False, True, False]


def test_large_event_numbers_keep_their_last_digits() -> None:
    assert fold_of(np.array([2**63 + 1, 2**53 + 1], dtype=np.uint64), 2).tolist() == [1, 1]


@pytest.mark.parametrize("folds", [1, 0, -3])
def test_fewer_than_two_folds(folds: int) -> None:
    with pytest.raises(FoldError, match=f"--folds is {folds}, but at least 2 are needed, else events are scored by"):
        fold_of(np.array([1]), folds)
