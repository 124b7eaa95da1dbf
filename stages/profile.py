"""profile: allocation and group histograms -> the threshold of every projection, for one profile set."""

from __future__ import annotations

from pipeline.config.params import Settings
from pipeline.profiles.profile import profiles
from pipeline.storage.schemas import ALLOCATIONS, GROUP_HISTOGRAMS, PROFILES
from stages.inputs import paths
from wina_amp.histograms.bins import Bins
from wina_amp.names import POOLED


def main(settings: Settings, name: str) -> None:
    """Read the `allocations` of profile set `name` and `group_histograms`, write its `profiles`.

    Groups that start from a pooled allocation read their thresholds off the pooled histograms, so that a group of
    strength 0 has the pooled profile, bit for bit. Thresholds from a group's own histograms were no better
    (docs/log.md). Groups that take the pooled sparsities as they are differ in just those thresholds.
    """
    profile = settings.profiles[name]
    is_pooled = profile.parent is not None and profile.allocation != POOLED
    rows = profiles(
        ALLOCATIONS.read(paths.allocations(name)),
        GROUP_HISTOGRAMS.read(paths.group_histograms("global" if is_pooled else profile.scheme)),
        criterion=profile.criterion,
        bins=Bins(settings.capture.mantissa_bits),
        is_pooled=is_pooled,
    )
    PROFILES.write(rows, paths.profiles(name))
