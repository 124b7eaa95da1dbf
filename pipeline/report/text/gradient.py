"""How the number of gradient clusters was chosen, in sentences made from the held-out gains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.analysis.gradient import GradientFindings
from pipeline.report.text.wording import listed, number
from wina_amp.names import ACTIVATION, GRADIENT_RANDOM_SCHEMES

DECIMALS = 3
"""Of gains."""
NAMES = {ACTIVATION: "the groups by activation", GRADIENT_RANDOM_SCHEMES[0]: "random groups of the same sizes"}


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
    return [said, f"Groups that were made without looking at gradients gain: {listed(others)}."]


def _gain(one: Mapping[str, Any]) -> str:
    return f"{number(one['mean'], DECIMALS)} \N{PLUS-MINUS SIGN} {number(one['error'], DECIMALS)}"
