"""What allocators of stage allocate have in common: paths, a group's texts and histograms, what decides a result."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.allocation.calibration.cost import Cost
from pipeline.config.params import ProfileSettings, Settings
from pipeline.histograms.aggregate import dense_counts
from pipeline.histograms.bins import Bins
from pipeline.storage.schemas import ASSIGNMENTS, SAMPLES
from pipeline.storage.scratch import file_digest
from pipeline.tokens.samples import TokenizedSample, tokenized_samples
from stages.inputs.model import model_identity

Costs = dict[int, Cost]
"""Group -> what its allocation took."""

SAMPLES_PATH = "data/samples.parquet"
ASSIGNMENTS_PATH = "data/assignments/{scheme}.parquet"
GROUP_HISTOGRAMS_PATH = "data/group_histograms/{scheme}.parquet"
ALLOCATIONS_PATH = "data/allocations/{name}.parquet"
ALLOCATION_COSTS_PATH = "data/allocation_costs/{name}.parquet"


def fingerprint(settings: Settings, profile: ProfileSettings) -> dict[str, Any]:
    """Everything that an allocation depends on: parts of another one are not taken up."""
    return {
        "samples": file_digest(SAMPLES_PATH),
        "assignments": file_digest(ASSIGNMENTS_PATH.format(scheme=profile.scheme)),
        "histograms": file_digest(GROUP_HISTOGRAMS_PATH.format(scheme=profile.scheme)),
        "start": file_digest(f"data/{profile.starts_from}.parquet"),
        "model": model_identity(settings.model),
        "tokens": asdict(settings.tokens),
        "allocate": asdict(settings.allocate),
        "mantissa_bits": settings.capture.mantissa_bits,
        "criterion": profile.criterion,
        "stop": max(settings.evaluate.targets),
        "seed": settings.seed,
    }


def group_texts(settings: Settings, profile: ProfileSettings, group: int) -> list[TokenizedSample]:
    """The group's train samples in seeded order."""
    from pipeline.allocation.calibration.texts import seeded_order

    samples: Any = SAMPLES.read(SAMPLES_PATH, columns=("sample_id", "split", "prompt_ids", "answer_ids"))
    assignments: Any = ASSIGNMENTS.read(ASSIGNMENTS_PATH.format(scheme=profile.scheme))
    members = set(assignments["sample_id"][(assignments["group"] == group) & (assignments["split"] == "train")])
    return seeded_order(tokenized_samples(samples[samples["sample_id"].isin(members)]), settings.seed)


def counts_of(rows: Any, bins: Bins) -> dict[tuple[int, str], np.ndarray]:
    """(block, projection) -> dense histogram, from rows of `group_histograms` of one group and criterion."""
    keys = zip(rows["block"].tolist(), rows["projection"].tolist(), strict=True)
    return dict(zip(keys, dense_counts(rows, bins), strict=True))
