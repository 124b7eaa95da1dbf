"""A slow transcription of accuracy at matched compute, for the tests of everything that reads it."""

from __future__ import annotations

import numpy as np

from pipeline.report.analysis.evidence import Outcome


def read_slowly(dense: Outcome, outcome: Outcome, saving: float, weights: np.ndarray) -> float:
    """Accuracy at a saving, one replicate: np.interp through the weighted means of each target."""
    x = [0.0, *(float(weights @ (1 - row)) for row in outcome.compute)]
    y = [float(weights @ dense.score[0]), *(float(weights @ row) for row in outcome.score)]
    if saving <= x[-1]:
        return float(np.interp(saving, x, y))
    return y[-1] + (saving - x[-1]) * (y[-1] - y[-2]) / (x[-1] - x[-2])
