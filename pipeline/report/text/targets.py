"""RQ2 target by target: the targets at which intervals exclude zero, for routed and for random groups.

A mean over targets can hide that a gain occurs at one of them. The criterion was set before the numbers were known:
above zero at `FEWEST_TARGETS` or more, below at none, and no draw of random groups that does the same. It is reported
beside the verdict and does not decide it, because single targets are not corrected for their number.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.text.wording import method_names

FEWEST_TARGETS = 2


def stands_out(row: Comparison) -> bool:
    """Whether the interval is above zero at enough targets, and below at none."""
    return row.above >= FEWEST_TARGETS and row.below == 0


def target_sentences(routed: Sequence[Comparison], controls: Sequence[Comparison]) -> list[str]:
    """The counts of targets for the gains of routed methods and of random groups (`controls`) on one configuration, and
    the criterion; none where there are fewer than `FEWEST_TARGETS` targets.
    """
    if max(len(row.at_targets) for row in routed) < FEWEST_TARGETS:
        return []
    of_controls = [f"The same for random groups: {_counts(controls)}."] if controls else []
    criterion = (
        f"The criterion over targets (above zero at {FEWEST_TARGETS} or more, below zero at none, and no draw of "
        f"random groups that does the same) is {_criterion(routed, controls)}."
    )
    return [f"Target by target, with uncorrected intervals: {_counts(routed)}.", *of_controls, criterion]


def _counts(rows: Sequence[Comparison]) -> str:
    return "; ".join(
        f"`{row.method.name}` above zero at {row.above or 'none'} and below zero at {row.below or 'none'} of "
        f"{sum(gap is not None for gap in row.at_targets)}"
        for row in rows
    )


def _criterion(routed: Sequence[Comparison], controls: Sequence[Comparison]) -> str:
    standing = [row.method for row in routed if stands_out(row)]
    same = [row.method for row in controls if stands_out(row)]
    if not standing:
        return "not met"
    if not controls:
        return f"not met: {method_names(standing)} would meet it, but no random groups were run"
    if same:
        return f"not met: {method_names(same)} does the same as {method_names(standing)}"
    return f"met by {method_names(standing)}"
