"""profile: allocation and group histograms -> the threshold of every projection, for one profile set."""

from __future__ import annotations

from pipeline.config import Settings
from pipeline.histogram import Bins
from pipeline.profile import profiles
from pipeline.schemas import ALLOCATIONS, GROUP_HISTOGRAMS, PROFILES
from stages.run import run_named

ALLOCATIONS_PATH = "data/allocations/{name}.parquet"
GROUP_HISTOGRAMS_PATH = "data/group_histograms/{scheme}.parquet"
PROFILES_PATH = "data/profiles/{name}.parquet"


def main(settings: Settings, name: str) -> None:
    """Read the `allocations` of profile set `name` and the `group_histograms` of its scheme, write its `profiles`."""
    profile = settings.profiles[name]
    rows = profiles(
        ALLOCATIONS.read(ALLOCATIONS_PATH.format(name=name)),
        GROUP_HISTOGRAMS.read(GROUP_HISTOGRAMS_PATH.format(scheme=profile.scheme)),
        criterion=profile.criterion,
        bins=Bins(settings.capture.mantissa_bits),
    )
    PROFILES.write(rows, PROFILES_PATH.format(name=name))


if __name__ == "__main__":
    run_named(main)
