"""aggregate: the histograms of a group's train samples -> one histogram per group, for one scheme."""

from __future__ import annotations

from typing import Any

from pipeline.config.params import Settings
from pipeline.histograms.aggregate import aggregate
from pipeline.histograms.bins import Bins
from pipeline.storage.schemas import ASSIGNMENTS, GROUP_HISTOGRAMS, HISTOGRAMS
from stages.run import run_named

HISTOGRAMS_PATH = "data/histograms"
ASSIGNMENTS_PATH = "data/assignments/{name}.parquet"
GROUP_HISTOGRAMS_PATH = "data/group_histograms/{name}.parquet"


def main(settings: Settings, name: str) -> None:
    """Read `histograms` and the `assignments` of scheme `name`, write its `group_histograms`."""
    assignments: Any = ASSIGNMENTS.read(ASSIGNMENTS_PATH.format(name=name))
    train = assignments[assignments["split"] == "train"]
    merged = aggregate(
        HISTOGRAMS.parts(HISTOGRAMS_PATH),
        train["sample_id"].tolist(),
        train["group"].to_numpy(),
        scheme=name,
        bins=Bins(settings.capture.mantissa_bits),
    )
    GROUP_HISTOGRAMS.write(merged, GROUP_HISTOGRAMS_PATH.format(name=name))


if __name__ == "__main__":
    run_named(main)
