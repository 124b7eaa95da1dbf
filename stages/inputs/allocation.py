"""What allocators of stage allocate have in common: paths, a group's texts and histograms, what decides a result."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.allocation.calibration.cost import Cost
from pipeline.config.params import Settings
from pipeline.config.profiles import ProfileSettings
from pipeline.histograms.aggregate import dense_counts
from pipeline.histograms.bins import Bins
from pipeline.storage.schemas import ASSIGNMENTS, SAMPLES
from pipeline.storage.scratch import file_digest
from stages.inputs.model import model_identity

if TYPE_CHECKING:
    from pipeline.allocation.calibration.texts import Text

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


def group_texts(settings: Settings, profile: ProfileSettings, group: int) -> list[Text]:
    """The group's train samples in seeded order."""
    from pipeline.allocation.calibration.texts import Text, seeded_order

    samples: Any = SAMPLES.read(SAMPLES_PATH, columns=("sample_id", "split", "prompt_ids", "answer_ids"))
    assignments: Any = ASSIGNMENTS.read(ASSIGNMENTS_PATH.format(scheme=profile.scheme))
    members = set(assignments["sample_id"][(assignments["group"] == group) & (assignments["split"] == "train")])
    texts = [
        Text(row.sample_id, row.prompt_ids.tolist(), row.answer_ids.tolist())
        for row in samples.itertuples()
        if row.sample_id in members
    ]
    return seeded_order(texts, settings.seed)


def counts_of(rows: Any, bins: Bins) -> dict[tuple[int, str], np.ndarray]:
    """(block, projection) -> dense histogram, from rows of `group_histograms` of one group and criterion."""
    keys = zip(rows["block"].tolist(), rows["projection"].tolist(), strict=True)
    return dict(zip(keys, dense_counts(rows, bins), strict=True))
