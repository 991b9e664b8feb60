"""How well the classifier does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.columnar.assignments import MAX_JETS
from analysis.columnar.partons import HADRONIC_B, LEPTONIC_B, W_JET
from analysis.ml.folds import trains_on

if TYPE_CHECKING:
    import awkward as ak
    import numpy as np
    from hist import Hist

    from analysis.ml.training import TrainingSample


class ScoreSplit(NamedTuple):
    """Scores of right and of wrong assignments, in events the model learned from and in others."""

    right_train: Hist[Any]
    right_test: Hist[Any]
    wrong_train: Hist[Any]
    wrong_test: Hist[Any]


class TripletCount(NamedTuple):
    """How often the jets of the hadronic top are found, in events with one number of jets.

    Args:
        jets: number of jets that take part.
        events: events whose four quarks are matched to these jets.
        classifier: events in which the classifier's triplet is right.
        largest_pt: events in which the trijet with the largest transverse momentum is right.
    """

    jets: int
    events: int
    classifier: int
    largest_pt: int


def split_scores(sample: TrainingSample, booster: Any, fold: int, folds: int) -> ScoreSplit:
    """Histogram the scores of all assignments of the training sample.

    Args:
        sample: events with their assignments.
        booster: model of the fold.
        fold: number of the fold.
        folds: number of folds.

    Returns:
        Four histograms in 25 bins from 0 to 1.
    """
    import numpy as np
    from hist import Hist, axis, storage

    features = sample.features
    scores = booster.inplace_predict(features.reshape(-1, features.shape[-1])).reshape(features.shape[:2])
    right = sample.target[:, None] == np.arange(features.shape[1])
    learned = np.broadcast_to(trains_on(sample.identity[:, 2], fold, folds)[:, None], right.shape)

    def histogram(mask: np.ndarray[Any, Any]) -> Hist[Any]:
        empty = Hist(axis.Regular(25, 0, 1, name="bdt_score", label="BDT score"), storage=storage.Weight())
        return empty.fill(scores[mask])

    return ScoreSplit(
        histogram(right & learned),
        histogram(right & ~learned),
        histogram(~right & learned),
        histogram(~right & ~learned),
    )


def count_triplets(parton: ak.Array, best: np.ndarray[Any, Any], trijet: np.ndarray[Any, Any]) -> list[TripletCount]:
    """Compare found with true triplets of jets.

    Args:
        parton: labels of the selected jets, shape ``(events, var)``.
        best: the classifier's jets (W1, W2, hadronic b), shape ``(events, 3)``; -1 where it was not applied.
        trijet: jets of the trijet with the largest transverse momentum, as bits, shape ``(events,)``.

    Returns:
        Counts for 4, 5 and 6 jets; events with more count as 6.
    """
    import awkward as ak
    import numpy as np

    n_jets = np.minimum(ak.to_numpy(ak.num(parton, axis=1)), MAX_JETS)
    labels = ak.to_numpy(ak.fill_none(ak.pad_none(parton, MAX_JETS, axis=1, clip=True), 0)).astype(np.int64)
    bits = 1 << np.arange(MAX_JETS)
    matched = (
        ((labels == W_JET).sum(axis=1) == 2)
        & ((labels == HADRONIC_B).sum(axis=1) == 1)
        & ((labels == LEPTONIC_B).sum(axis=1) == 1)
        & (best >= 0).all(axis=1)
    )
    true = (np.isin(labels, (W_JET, HADRONIC_B)) * bits).sum(axis=1)
    found = (1 << np.maximum(best, 0).astype(np.int64)).sum(axis=1)
    counts = []
    for jets in range(4, MAX_JETS + 1):
        chosen = matched & (n_jets == jets)
        right, largest = found[chosen] == true[chosen], trijet[chosen] == true[chosen]
        counts.append(TripletCount(jets, int(chosen.sum()), int(right.sum()), int(largest.sum())))
    return counts
