"""Training of the classifier of one fold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from analysis.errors import AnalysisError
from analysis.ml.folds import trains_on

if TYPE_CHECKING:
    import numpy as np

MAX_EVENTS = 20_000
"""Largest number of events that one model learns from (AGC ttbar specification v2, section "ML")."""


class TrainingError(AnalysisError):
    """There is too little to learn from."""


@dataclass(frozen=True)
class Hyperparameters:
    """Settings of the boosted decision trees, in xgboost's words."""

    n_estimators: int = 100
    max_depth: int = 4
    learning_rate: float = 0.1
    min_child_weight: float = 10.0
    reg_lambda: float = 10.0
    gamma: float = 0.0


class TrainingSample(NamedTuple):
    """What the classifier learns from, see :func:`analysis.columnar.assignments.training_sample`.

    Args:
        identity: run, luminosity block and event number, shape ``(events, 3)``.
        features: shape ``(events, 12, 20)``.
        target: position of the right assignment, shape ``(events,)``.
    """

    identity: np.ndarray[Any, Any]
    features: np.ndarray[Any, Any]
    target: np.ndarray[Any, Any]


@dataclass(frozen=True)
class TrainingCurve:
    """Loss after each boosting round, averaged over assignments.

    Args:
        fold: number of the fold.
        train: log-loss on the events the model learns from.
        validation: log-loss on the events of the fold, which it does not see.
        events: number of events it learns from.
    """

    fold: int
    train: tuple[float, ...]
    validation: tuple[float, ...]
    events: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> TrainingCurve:
        """Inverse of :meth:`to_json`."""
        return cls(content["fold"], tuple(content["train"]), tuple(content["validation"]), content["events"])


class TrainedModel(NamedTuple):
    """A model in xgboost's JSON and how it was learned."""

    model: bytes
    curve: TrainingCurve


def train_fold(
    sample: TrainingSample, fold: int, folds: int, parameters: Hyperparameters | None = None, seed: int = 5
) -> TrainedModel:
    """Train the model of one fold on the events of all other folds.

    The result depends on the set of events, not on their order: they are sorted by identity, then shuffled with
    a seed. One thread, because the order of floating-point additions has to be the same everywhere.

    Args:
        sample: events with their assignments.
        fold: number of the fold that is left out.
        folds: number of folds.
        parameters: settings; default: :class:`Hyperparameters`.
        seed: seed of the shuffling.

    Returns:
        The model and its learning curve.

    Raises:
        TrainingError: if there is no event to learn from, or none to validate with.
    """
    import numpy as np
    from xgboost import XGBClassifier

    order = np.lexsort(sample.identity.T[::-1])
    learn = trains_on(sample.identity[order, 2], fold, folds)
    training, validation = order[learn], order[~learn]
    if not len(training) or not len(validation):
        msg = (
            f"fold {fold} of {folds} has {len(training)} events to learn from and {len(validation)} to validate with, "
            f"of {len(sample.target)} in all: use fewer --folds, more ttbar events, or machine_learning: false"
        )
        raise TrainingError(msg)
    training = np.random.default_rng(seed).permutation(training)[:MAX_EVENTS]
    settings = asdict(parameters or Hyperparameters())
    classifier = XGBClassifier(
        **settings, tree_method="hist", n_jobs=1, random_state=seed, eval_metric="logloss", verbosity=0
    )
    sets = [_rows(sample, training), _rows(sample, validation)]
    classifier.fit(*sets[0], eval_set=sets, verbose=False)
    losses = classifier.evals_result()
    curves = [tuple(float(x) for x in losses[f"validation_{i}"]["logloss"]) for i in range(2)]
    model = bytes(classifier.get_booster().save_raw("json"))
    return TrainedModel(model, TrainingCurve(fold, curves[0], curves[1], len(training)))


def _rows(sample: TrainingSample, events: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    import numpy as np

    features = sample.features[events]
    labels = sample.target[events][:, None] == np.arange(features.shape[1])
    return features.reshape(-1, features.shape[-1]), labels.reshape(-1).astype(np.int8)
