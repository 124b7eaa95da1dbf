"""The groups that want the same change of a pooled allocation: who they are, and how many are worth having.

Gains are those of `pipeline/gradient_groups.py`, measured on held-out train texts; they have no unit that a reader
could use, so they are only compared with each other: between numbers of groups, and with groups that were made without
looking at slopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.report.agreement import Composition, compositions
from pipeline.report.evidence import Evidence
from pipeline.report.plan import Plan
from pipeline.report.wording import listed, number
from pipeline.schemes import ACTIVATION, GRADIENT, GRADIENT_RANDOM_SCHEMES

DECIMALS = 3
"""Of gains."""
NAMES = {ACTIVATION: "the groups by activation", GRADIENT_RANDOM_SCHEMES[0]: "random groups of the same sizes"}


@dataclass(frozen=True)
class GradientFindings:
    """What stage regroup says of its choice (`quality`), and the make-up of its groups on the test split."""

    quality: Mapping[str, Any]
    compositions: list[Composition]


def gradient_findings(plan: Plan, evidence: Evidence) -> GradientFindings | None:
    """None where the scheme is not part of the plan."""
    if GRADIENT not in plan.schemes:
        return None
    return GradientFindings(evidence.gradient, compositions(plan, evidence, "test", GRADIENT))


def gradient_sentences(found: GradientFindings) -> list[str]:
    """How the number of groups was chosen, and what other groups of the same samples would gain."""
    quality = found.quality
    gains = {int(one["count"]): one for one in quality["gains"]}
    chosen, best = gains[quality["groups"]], max(gains.values(), key=lambda one: one["mean"])
    counts = sorted(gains)
    said = (
        f"Of {counts[0]} to {counts[-1]} groups, {chosen['count']} are the fewest whose held-out gain "
        f"({_gain(chosen)}) is within a standard error of the largest ({_gain(best)}, {best['count']} groups)."
    )
    others = [
        f"{NAMES.get(name, f'groups by {name}')} {_gain(one)}"
        for name, one in sorted(quality["schemes"].items(), key=lambda item: -item[1]["mean"])
    ]
    return [said, f"Groups that were made without looking at slopes gain: {listed(others)}."]


def _gain(one: Mapping[str, Any]) -> str:
    return f"{number(one['mean'], DECIMALS)} \N{PLUS-MINUS SIGN} {number(one['error'], DECIMALS)}"
