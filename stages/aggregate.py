"""aggregate: the histograms of a group's train samples -> one histogram per group, for one scheme."""

from __future__ import annotations

from typing import Any

from pipeline.config.params import Settings
from pipeline.histograms.aggregate import aggregate
from pipeline.storage.schemas import ASSIGNMENTS, GROUP_HISTOGRAMS, HISTOGRAMS
from stages.inputs import paths
from wina_amp.histograms.bins import Bins


def main(settings: Settings, name: str) -> None:
    """Read `histograms` and the `assignments` of scheme `name`, write its `group_histograms`."""
    assignments: Any = ASSIGNMENTS.read(paths.assignments(name))
    train = assignments[assignments["split"] == "train"]
    merged = aggregate(
        HISTOGRAMS.parts(paths.HISTOGRAMS),
        train["sample_id"].tolist(),
        train["group"].to_numpy(),
        scheme=name,
        bins=Bins(settings.capture.mantissa_bits),
    )
    GROUP_HISTOGRAMS.write(merged, paths.group_histograms(name))
