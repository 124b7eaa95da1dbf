"""Steps and numbers of texts of `kl`, from one budget of tokens.

    texts in a step  =  tokens / steps / mean tokens of a text

so that a descent costs as many passes through the model whether texts are short or long. A group that shrinks towards a
pooled allocation begins near its end: it takes a quarter of the steps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

COMPARED = 0.1
"""Tokens of the texts on which allocations are compared, over those of a descent."""


@dataclass(frozen=True)
class Plan:
    """The sizes of one descent and of its comparisons.

    Attributes:
        steps: of the descent.
        batch: texts in a step, at least one.
        rate: learning rate.
        compared: texts on which allocations are compared, at least one.
    """

    steps: int
    batch: int
    rate: float
    compared: int


def pooled_plan(mean_length: float, *, steps: int, tokens: int, rate: float) -> Plan:
    """Of an allocation that starts from equal sparsities.

    Args:
        mean_length: tokens of a text, on average.
        steps: of the descent.
        tokens: that the descent of one target reads.
        rate: learning rate.
    """
    return Plan(steps, _texts(tokens / steps, mean_length), rate, _texts(COMPARED * tokens, mean_length))


def group_plan(mean_length: float, *, steps: int, tokens: int, rate: float) -> Plan:
    """Of a group that starts from the pooled allocation of such a plan; for arguments see `pooled_plan`."""
    pooled = pooled_plan(mean_length, steps=steps, tokens=tokens, rate=rate)
    return replace(pooled, steps=max(1, steps // 4))


def _texts(tokens: float, mean_length: float) -> int:
    return max(1, int(tokens / mean_length))
