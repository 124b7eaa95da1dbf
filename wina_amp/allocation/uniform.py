"""The uniform allocation: every mask gets the same sparsity. Predicts no error.

    s = target / fraction        fraction: the part of all projections' weights that the criterion's masks gate

A criterion that masks the input of every projection gates all weights, so s is the target itself. `cats` gates `up` and
`down` only: its masks must be sparser for the same model-wide sparsity, and a target above its part is out of reach.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

_KEY = ["group", "block", "projection"]


def uniform(histograms: pd.DataFrame, targets: Sequence[float], profile: str, fraction: float = 1.0) -> pd.DataFrame:
    """Rows of the table `allocations`.

    Args:
        histograms: rows of the table `group_histograms` of the profile set's scheme and criterion; says which groups,
            blocks and projections there are.
        targets: model-wide sparsities, none above `fraction`.
        profile: name of the profile set.
        fraction: see `wina_amp.models.mask_sites.maskable_fraction`.

    Guarantee: the mean sparsity over all weights, those that no mask gates included, is the target.

    Raises:
        ValueError: a target above the fraction.
    """
    if max(targets) > fraction:
        raise ValueError(f"targets must be at most {fraction:.4f}, got {max(targets):g}")
    keys = histograms[_KEY].drop_duplicates()
    rows = keys.merge(pd.DataFrame({"target": list(targets)}), how="cross")
    return rows.assign(profile=profile, sparsity=rows["target"] / fraction, predicted_error=np.nan)
