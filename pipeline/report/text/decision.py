"""From the intervals of a difference to a decision, in one place and for every question, by the rule of
`pipeline/protocol/verdict.py`.

A difference is claimed only where every interval that it has (over samples, over tasks) excludes zero. Otherwise the
answer is a no that names what is ruled out, if that is small enough to matter to nobody, and else undecided: a wide
interval is no evidence of absence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.protocol.verdict import UNDECIDED, YES, answer
from pipeline.report.text.wording import points
from pipeline.statistics.bootstrap import Interval

RELEVANT = 0.02
"""A gain of accuracy, as a fraction of samples, that would matter; losses up to it count as safe."""


@dataclass(frozen=True)
class Decision:
    """`tone` is `yes`, `no` or `open`; `words` say the decision and, for a no, the gain that is ruled out."""

    tone: str
    words: str


def decide(intervals: Sequence[Interval]) -> Decision:
    """Whether a method gains: "Yes", "No: worse", "No: smaller than 1.3 points", or "Undecided: ...".

    Args:
        intervals: of one difference, method minus reference, as a fraction of samples; at least one.
    """
    low, high = min(interval.low for interval in intervals), max(interval.high for interval in intervals)
    given = answer(low, high, RELEVANT)
    if given == UNDECIDED:
        return Decision("open", f"Undecided: between {points(low)} and {points(high)} points")
    if given == YES:
        return Decision("yes", "Yes")
    if high < 0:
        return Decision("no", "No: worse")
    if high == 0:
        return Decision("no", "No: no gain at all")
    return Decision("no", f"No: smaller than {points(high).removeprefix('+')} points")
