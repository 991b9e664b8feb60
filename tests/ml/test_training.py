"""What a model learns, and from which events."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost

from analysis.columnar.assignments import FeatureBlock
from analysis.ml import training
from analysis.ml.evaluation import best_assignments, load_models
from analysis.ml.folds import FoldError, fold_of
from analysis.ml.training import Hyperparameters, TrainingCurve, TrainingError, train_fold
from tests.ml.sample import PROBE, SMALL, permuted, separable_sample


@pytest.mark.parametrize("largest", [60, 20_000])
def test_training_does_not_depend_on_the_order_of_events(monkeypatch: pytest.MonkeyPatch, largest: int) -> None:
    monkeypatch.setattr(training, "MAX_EVENTS", largest)
    sample = separable_sample(200)
    model, curve = train_fold(sample, 1, 3, SMALL)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(200)
        again = train_fold(permuted(sample, order), 1, 3, SMALL)
        assert again.model == model
        assert again.curve == curve


def test_training_is_the_same_twice() -> None:
    assert train_fold(separable_sample(100), 0, 2, SMALL) == train_fold(separable_sample(100), 0, 2, SMALL)


def test_models_of_different_folds_seeds_and_settings_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MAX_EVENTS", 60)
    sample = separable_sample(300)
    other = Hyperparameters(n_estimators=5, max_depth=2, learning_rate=0.25, min_child_weight=1.0)
    models = [
        train_fold(sample, 0, 2, SMALL),
        train_fold(sample, 1, 2, SMALL),
        train_fold(sample, 0, 2, SMALL, seed=6),
        train_fold(sample, 0, 2, other),
    ]
    assert len({model.model for model in models}) == 4


def test_a_separable_sample_is_learned() -> None:
    sample = separable_sample(400)
    model, _ = train_fold(sample, 0, 2, Hyperparameters(n_estimators=20))
    (booster,) = load_models([model])
    held_out = fold_of(sample.identity[:, 2], 2) == 0
    scores = booster.inplace_predict(sample.features[held_out].reshape(-1, 20)).reshape(-1, 12)
    assert (scores.argmax(axis=1) == sample.target[held_out]).mean() > 0.9


def test_learning_curve() -> None:
    sample = separable_sample(200)
    curve = train_fold(sample, 1, 4, SMALL).curve
    assert len(curve.train) == len(curve.validation) == SMALL.n_estimators
    assert all(earlier > later for earlier, later in zip(curve.train, curve.train[1:], strict=False))
    assert curve.events == int((fold_of(sample.identity[:, 2], 4) != 1).sum())
    assert TrainingCurve.from_json(curve.to_json()) == curve


def test_learning_curve_is_the_loss_of_the_model() -> None:
    sample = separable_sample(200)
    model, curve = train_fold(sample, 0, 2, SMALL)
    (booster,) = load_models([model])
    own = fold_of(sample.identity[:, 2], 2) == 0
    for events, losses in ((own, curve.validation), (~own, curve.train)):
        p = booster.inplace_predict(sample.features[events].reshape(-1, 20)).reshape(-1, 12).astype(float)
        right = sample.target[events][:, None] == np.arange(12)
        assert losses[-1] == pytest.approx(-np.log(np.where(right, p, 1 - p)).mean(), rel=1e-4)


@pytest.mark.parametrize(("numbers", "learn", "validate"), [([], 0, 0), ([2, 4, 6], 0, 3), ([1, 3, 5, 7], 4, 0)])
def test_too_few_events(numbers: list[int], learn: int, validate: int) -> None:
    sample = separable_sample(max(len(numbers), 1))
    sample = permuted(sample, np.arange(len(numbers)))
    sample.identity[:, 2] = numbers
    message = f"fold 0 of 2 has {learn} events to learn from and {validate} to validate with, of {len(numbers)} in all"
    with pytest.raises(TrainingError, match=message):
        train_fold(sample, 0, 2, SMALL)


def test_fewer_than_two_folds() -> None:
    with pytest.raises(FoldError, match="--folds is 1, but at least 2 are needed"):
        train_fold(separable_sample(10), 0, 1, SMALL)


class Spy:
    """Records the events that a fit or a prediction sees, by the feature that carries their number."""

    def __init__(self, booster: Any = None) -> None:
        self.booster = booster
        self.learned: list[set[int]] = []
        self.validated: list[set[int]] = []
        self.scored: list[int] = []

    def fit(self, original: Any) -> Any:
        def fit(classifier: Any, x: Any, y: Any, *, eval_set: Any, **options: Any) -> Any:
            self.learned.append(events_of(x))
            self.validated.append(events_of(eval_set[1][0]))
            return original(classifier, x, y, eval_set=eval_set, **options)

        return fit

    def inplace_predict(self, rows: Any) -> Any:
        self.scored += sorted(events_of(rows))
        return self.booster.inplace_predict(rows)


def events_of(rows: Any) -> set[int]:
    numbers, counts = np.unique(rows[:, PROBE], return_counts=True)
    assert (counts == 12).all()
    return {int(number) for number in numbers}


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_no_event_is_scored_by_a_model_that_learned_from_it(monkeypatch: pytest.MonkeyPatch, folds: int) -> None:
    sample = separable_sample(150)
    everything = {int(number) for number in sample.identity[:, 2]}
    fits = Spy()
    monkeypatch.setattr(xgboost.XGBClassifier, "fit", fits.fit(xgboost.XGBClassifier.fit))
    boosters = load_models([train_fold(sample, fold, folds, SMALL).model for fold in range(folds)])
    spies = [Spy(booster) for booster in boosters]
    # not all the sample's events at once, and in another order than they were learned
    order = np.random.default_rng(3).permutation(150)
    blocks = [FeatureBlock(part, sample.features[part]) for part in np.array_split(order, 4)]
    best = best_assignments(blocks, spies, sample.identity[:, 2])

    assert len(fits.learned) == folds
    for learned, validated, spy in zip(fits.learned, fits.validated, spies, strict=True):
        assert learned
        assert spy.scored
        assert not learned & set(spy.scored)
        assert learned | set(spy.scored) == everything
        assert validated == set(spy.scored)
    assert sorted(event for spy in spies for event in spy.scored) == sorted(everything)
    assert np.isfinite(best.score).all()


def test_no_model_learns_from_more_events_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = separable_sample(150)
    fits = Spy()
    monkeypatch.setattr(xgboost.XGBClassifier, "fit", fits.fit(xgboost.XGBClassifier.fit))
    monkeypatch.setattr(training, "MAX_EVENTS", 40)
    for order in (np.arange(150), np.arange(150)[::-1]):
        assert train_fold(permuted(sample, order), 0, 2, SMALL).curve.events == 40
    assert len(fits.learned[0]) == 40
    assert fits.learned[0] == fits.learned[1]
    assert all(event % 2 == 1 for event in fits.learned[0])
