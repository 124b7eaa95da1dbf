"""RQ2 target by target: where intervals exclude zero, on which side, and whether random groups show the same.

A mean over levels can hide that a gain sits at one of them. The criterion was set before the numbers were known: in
favour at `FEWEST_TARGETS` or more, against at none, and no draw of random groups that does the same. It is reported
beside the verdict and does not decide it, because single levels are not corrected for their number.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.report.analysis.accuracy import Comparison
from pipeline.report.text.wording import listed

FEWEST_TARGETS = 2


def stands_out(row: Comparison) -> bool:
    """Whether the interval excludes zero in favour at enough targets, and against at none."""
    return row.above >= FEWEST_TARGETS and row.below == 0


def target_sentences(routed: Sequence[Comparison], controls: Sequence[Comparison]) -> list[str]:
    """The counts of routed methods, those of random groups, and the criterion; none where there is one target.

    Args:
        routed: gains of the routed methods of a configuration.
        controls: gains of the random groups of the same configuration.
    """
    if max(len(row.at_levels) for row in routed) < FEWEST_TARGETS:
        return []
    counted = [f"Target by target (one level each), uncorrected intervals: {_counts(routed)}."]
    if controls:
        counted.append(f"The same of random groups: {_counts(controls)}.")
    return [*counted, _criterion(routed, controls)]


def _counts(rows: Sequence[Comparison]) -> str:
    return "; ".join(
        f"`{row.method.name}` above zero at {row.above or 'none'} and below at {row.below or 'none'} of "
        f"{sum(gap is not None for gap in row.at_levels)}"
        for row in rows
    )


def _criterion(routed: Sequence[Comparison], controls: Sequence[Comparison]) -> str:
    asked = (
        f"The criterion (above zero at {FEWEST_TARGETS} targets or more, below at none, and no draw of random groups "
        "doing the same)"
    )
    standing = [f"`{row.method.name}`" for row in routed if stands_out(row)]
    same = [f"`{row.method.name}`" for row in controls if stands_out(row)]
    if not standing:
        return f"{asked} is not met."
    if not controls:
        return f"{asked} is not met: {listed(standing)} would meet it, but no random groups were run."
    if same:
        return f"{asked} is not met: {listed(same)} does the same as {listed(standing)}."
    return f"{asked} is met by {listed(standing)}."
