"""A small sample from which something can be learned."""

from __future__ import annotations

import numpy as np

from analysis.ml.training import Hyperparameters, TrainingSample

SMALL = Hyperparameters(n_estimators=5, max_depth=2, learning_rate=0.5, min_child_weight=1.0)
PROBE = 19
"""Feature that carries the event number, which single precision holds exactly up to 2**24."""


def separable_sample(n: int, seed: int = 1) -> TrainingSample:
    """Events whose right assignment has the largest first feature, by far."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 12, 20)).astype(np.float32)
    target = random.integers(0, 12, n)
    features[np.arange(n), target, 0] += 5
    event = random.permutation(10 * n)[:n]
    features[:, :, PROBE] = event[:, None]
    return TrainingSample(np.stack([np.ones(n, dtype=np.int64), event // 100, event], axis=1), features, target)


def permuted(sample: TrainingSample, order: np.ndarray) -> TrainingSample:
    """The same events in another order."""
    return TrainingSample(sample.identity[order], sample.features[order], sample.target[order])
