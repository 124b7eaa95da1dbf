"""The uniform allocation, every mask gets the same sparsity, as rows of the table `allocations`. Predicts no error.

    s = target / fraction        fraction: the part of all projections' weights that the criterion's masks gate

A criterion that masks the input of every projection gates all weights, so s is the target itself. `cats` gates `up` and
`down` only: its masks must be sparser for the same mean sparsity over all weights.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

_KEY = ["group", "block", "projection"]


def uniform_rows(
    histograms: pd.DataFrame, targets: Sequence[float], profile: str, fraction: float = 1.0
) -> pd.DataFrame:
    """Rows of the table `allocations`.

    Args:
        histograms: rows of the table `group_histograms` of the profile set's scheme and criterion; says which groups,
            blocks and projections there are.
        targets: model-wide sparsities, none above `fraction`.
        profile: name of the profile set.
        fraction: see `wina_amp.models.mask_sites.maskable_fraction`.
    """
    keys = histograms[_KEY].drop_duplicates()
    by_target = pd.DataFrame({"target": targets, "sparsity": [target / fraction for target in targets]})
    return keys.merge(by_target, how="cross").assign(profile=profile, predicted_error=np.nan)
