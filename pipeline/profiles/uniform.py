"""The uniform allocation (`wina_amp/allocation/uniform.py`) as rows of the table `allocations`. Predicts no error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from wina_amp.allocation.uniform import uniform

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
        fraction: see `uniform`.

    Raises:
        ValueError: a target above the fraction.
    """
    keys = histograms[_KEY].drop_duplicates()
    by_target = pd.DataFrame({"target": targets, "sparsity": [uniform(target, fraction) for target in targets]})
    return keys.merge(by_target, how="cross").assign(profile=profile, predicted_error=np.nan)
