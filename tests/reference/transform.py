"""The basis of a site by singular value decompositions, with a projector for the null space."""

from __future__ import annotations

import numpy as np


def basis(leading, rest, rank):
    """V up to signs, without the directions that no map of the site reads."""
    vectors = np.linalg.svd(leading)[2][:rank]
    outside = np.eye(leading.shape[1]) - vectors.T @ vectors
    _, values, others = np.linalg.svd(rest @ outside)
    above_rounding = values > 1e-9 * np.linalg.norm(rest)
    return np.concatenate([vectors, others[: len(values)][above_rounding]]).T
