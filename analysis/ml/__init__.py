"""The classifier that assigns jets to the quarks of the top decays: folds, training, evaluation."""
