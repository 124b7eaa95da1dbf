"""Slow, obvious transcription of a benefit router's fit: normal equations, one penalty, fold and sample at a time."""

from __future__ import annotations

import numpy as np


def ridge(features, benefits, penalty):
    """(function from features to predictions), for standardised features and centred benefits."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    z = (features - mean) / spread
    identity = np.eye(z.shape[1])
    weights = np.linalg.solve(z.T @ z + penalty * len(z) * identity, z.T @ (benefits - benefits.mean(axis=0)))
    return lambda asked: (asked - mean) / spread @ weights + benefits.mean(axis=0)


def earned(features, benefits, folds, penalty, margin):
    """Mean benefit of the choices of a benefit router on folds that it was not fitted on."""
    total = 0.0
    for fold in np.unique(folds):
        out = folds == fold
        predict = ridge(features[~out], benefits[~out], penalty)
        for x, benefit in zip(features[out], benefits[out], strict=True):
            predicted = predict(x)
            if predicted.max() > margin:
                total += benefit[predicted.argmax()]
    return total / len(features)
