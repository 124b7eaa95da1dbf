"""The uniform allocation: every projection gets the target itself. Predicts no error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

_PLACE = ["group", "block", "projection"]


def uniform(histograms: pd.DataFrame, targets: Sequence[float], profile: str) -> pd.DataFrame:
    """Rows of the table `allocations`.

    Args:
        histograms: rows of the table `group_histograms` of the profile set's scheme; says which groups, blocks and
            projections there are.
        targets: model-wide sparsities.
        profile: name of the profile set.
    """
    places = histograms[_PLACE].drop_duplicates()
    rows = places.merge(pd.DataFrame({"target": list(targets)}), how="cross")
    return rows.assign(profile=profile, sparsity=rows["target"], predicted_error=np.nan)
