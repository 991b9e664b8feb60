"""Application of the classifier: the best assignment of jets, by the model that has not seen the event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.columnar.assignments import FeatureBlock, assignments
from analysis.ml.folds import fold_of

if TYPE_CHECKING:
    from typing import TypeAlias

    import numpy as np

    Array: TypeAlias = np.ndarray[Any, Any]


class BestAssignments(NamedTuple):
    """The assignment with the largest score of each event.

    Args:
        score: score, shape ``(events,)``; NaN for events that were not evaluated.
        features: its features, shape ``(events, 20)``; NaN likewise.
        jets: positions of (W1, W2, hadronic b, leptonic b) among the selected jets, shape ``(events, 4)``; -1 likewise.
    """

    score: Array
    features: Array
    jets: Array


def load_models(models: Sequence[bytes]) -> list[Any]:
    """Boosters from xgboost's JSON, one per fold."""
    from xgboost import Booster

    boosters = []
    for model in models:
        booster = Booster({"nthread": 1})
        booster.load_model(bytearray(model))
        boosters.append(booster)
    return boosters


def best_assignments(blocks: Sequence[FeatureBlock], boosters: Sequence[Any], event: Array) -> BestAssignments:
    """Score every assignment of every event and keep the best.

    Args:
        blocks: features, see :func:`analysis.columnar.assignments.feature_blocks`.
        boosters: model of each fold; an event is scored by the model of its own fold, which did not learn from it.
        event: event numbers of all events, shape ``(events,)``.

    Returns:
        Results of all events, also those in no block.
    """
    import numpy as np

    n = len(event)
    best = BestAssignments(
        np.full(n, np.nan, np.float32), np.full((n, 20), np.nan, np.float32), np.full((n, 4), -1, np.int8)
    )
    folds = fold_of(event, len(boosters))
    for block in blocks:
        table = assignments(_n_jets(block))
        for fold, booster in enumerate(boosters):
            chosen = folds[block.rows] == fold
            if not chosen.any():
                continue
            features, rows = block.features[chosen], block.rows[chosen]
            scores = booster.inplace_predict(features.reshape(-1, features.shape[-1])).reshape(features.shape[:2])
            winner = scores.argmax(axis=1)
            best.score[rows] = np.take_along_axis(scores, winner[:, None], axis=1)[:, 0]
            best.features[rows] = features[np.arange(len(rows)), winner]
            best.jets[rows] = table[winner]
    return best


def _n_jets(block: FeatureBlock) -> int:
    return next(n for n in (4, 5, 6) if len(assignments(n)) == block.features.shape[1])
