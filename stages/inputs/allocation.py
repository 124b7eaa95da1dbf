"""Inputs that the allocators of stage allocate have in common: a group's texts and histograms, and kept parts."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from pipeline.config.params import Settings
from pipeline.histograms.aggregate import dense_counts
from pipeline.storage.parts import Parts
from pipeline.storage.schemas import ASSIGNMENTS, SAMPLES
from stages.inputs import paths
from stages.inputs.fingerprint import Fingerprint
from wina_amp.allocation.calibration.cost import Cost
from wina_amp.histograms.bins import Bins
from wina_amp.tokens.samples import TokenizedSample, tokenized_samples

Costs = dict[int, Cost]
"""Group -> what its allocation took."""


def allocation_scratch(fingerprint: Fingerprint, settings: Settings) -> AbstractContextManager[Parts]:
    """The parts of the allocation of a profile set. None of them depends on a target but the highest, which greedy
    paths end at, unless its name says so."""
    return fingerprint.scratch({"evaluate.targets": max(settings.evaluate.targets)})


def group_texts(scheme: str, group: int, seed: int) -> list[TokenizedSample]:
    """The train samples of a group of a scheme, in seeded order."""
    from wina_amp.allocation.calibration.texts import seeded_order

    samples: Any = SAMPLES.read(paths.SAMPLES, columns=("sample_id", "split", "prompt_ids", "answer_ids"))
    assignments: Any = ASSIGNMENTS.read(paths.assignments(scheme))
    members = set(assignments["sample_id"][(assignments["group"] == group) & (assignments["split"] == "train")])
    return seeded_order(tokenized_samples(samples[samples["sample_id"].isin(members)]), seed)


def counts_of(rows: Any, bins: Bins) -> dict[tuple[int, str], np.ndarray]:
    """(block, projection) -> dense histogram, from rows of `group_histograms` of one group and criterion."""
    keys = zip(rows["block"].tolist(), rows["projection"].tolist(), strict=True)
    return dict(zip(keys, dense_counts(rows, bins), strict=True))
