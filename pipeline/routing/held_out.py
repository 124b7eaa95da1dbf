"""Routers on samples of a kind that they were not fitted on: one task left out, or one template.

For every value of a label (a task; a template, the wording that an item is wrapped in) the router is fitted anew on the
train samples of all other values and asked about the test samples of this one. The embedded benchmark crosses
computations with templates, so with a template left out the wording is new and the content is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from pipeline.routing.benefit_router_fit import fit_benefit_router
from wina_amp.routing.router_fit import fit_router

LABELS = ("task", "template")

Ask = Callable[[Bool[ndarray, " samples"], Bool[ndarray, " samples"]], Int[ndarray, " asked"]]
"""(train samples to fit on, samples to ask about) -> the groups of the latter."""


def held_out(samples: pd.DataFrame, ask: Ask) -> pd.DataFrame:
    """Rows of the table `held_out`: every test sample's group by the router that was not fitted on its label.

    A label that is empty, or whose removal leaves fewer than two train samples, has no rows. A value that no train
    sample has is asked about all the same: no router was fitted on it.
    """
    train = (samples["split"] == "train").to_numpy()
    parts = [pd.DataFrame({"label": [], "sample_id": [], "group": []})]
    for label in LABELS:
        values: Any = samples[label].to_numpy()
        for value in sorted(set(values[~train].tolist()) - {""}):
            kept, asked = train & (values != value), ~train & (values == value)
            if kept.sum() >= 2:
                rows = {"label": label, "sample_id": samples["sample_id"][asked], "group": ask(kept, asked)}
                parts.append(pd.DataFrame(rows))
    whole = pd.concat(parts, ignore_index=True)
    return whole.astype({"label": str, "sample_id": str, "group": np.int64})


def ask_labels(
    features: Float[ndarray, "samples features"], groups: Int[ndarray, " samples"], *, weight_decay: float
) -> Ask:
    """Fit and ask a router. A group all of whose samples are left out cannot be chosen."""

    def ask(kept: Bool[ndarray, " samples"], asked: Bool[ndarray, " samples"]) -> Int[ndarray, " asked"]:
        present, numbers = np.unique(groups[kept], return_inverse=True)
        router = fit_router(features[kept], numbers, weight_decay=weight_decay)
        return present[router.probabilities(features[asked]).argmax(axis=1)]

    return ask


def ask_benefit_router(
    features: Float[ndarray, "samples features"], benefits: Float[ndarray, "samples groups"], *, seed: int
) -> Ask:
    """Fit and ask a benefit router; penalty and margin are chosen anew, too, from the kept samples only."""

    def ask(kept: Bool[ndarray, " samples"], asked: Bool[ndarray, " samples"]) -> Int[ndarray, " asked"]:
        fitted = fit_benefit_router(features[kept], benefits[kept], seed)
        return fitted.router.probabilities(features[asked]).argmax(axis=1)

    return ask
