"""The one rule that turns an interval of a difference into an answer.

    yes         the whole interval lies above 0
    no          it lies below 0 (worse), or below the smallest difference that matters (smaller than that)
    undecided   it holds 0 and the smallest difference that matters: more items, units or refits are needed

"No" needs an interval that is narrow enough, so that "not shown" is never said as "no". A gain that is real and smaller
than what matters is a "yes" that says so. Which interval is asked is the caller's choice, one for all questions of a
page.
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.statistics.bootstrap import Interval

YES, NO, UNDECIDED = "yes", "no", "undecided"


def answer(low: float, high: float, smallest: float) -> str:
    """`yes`, `no` or `undecided`, of an interval from `low` to `high`."""
    if low > 0:
        return YES
    return NO if high < smallest else UNDECIDED


@dataclass(frozen=True)
class Verdict:
    """An answer (`yes`, `no`, `undecided`), and its reason in words, with the interval."""

    answer: str
    words: str


def verdict(interval: Interval, smallest: float, unit: str = "points") -> Verdict:
    """The answer to "is there a gain?".

    Args:
        interval: of the difference, a gain being positive.
        smallest: the smallest difference that matters, above 0, in the same unit.
        unit: of both, in words (`%`, `points`).

    Raises:
        ValueError: `smallest` is not above 0, or the interval does not hold its value.
    """
    if not (smallest > 0 and interval.low <= interval.value <= interval.high):
        raise ValueError(
            f"an interval around its value and a difference above 0 are needed; got {interval}, {smallest}"
        )
    shown = f"{interval.value:+.1f} {unit} [{interval.low:.1f}, {interval.high:.1f}]"
    given = answer(interval.low, interval.high, smallest)
    if given == UNDECIDED:
        return Verdict(given, f"undecided, {smallest:g} {unit} not excluded: {shown}")
    if interval.high < 0:
        return Verdict(given, f"no, worse: {shown}")
    small = f", smaller than {smallest:g}" if interval.high < smallest else ""
    return Verdict(given, f"{given}{small}: {shown}")
