"""Sentences about the number of gradient clusters and the held-out gains that decide it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.analysis.gradient import GradientFindings
from pipeline.report.text.wording import listed, number
from wina_amp.names import ACTIVATION, GRADIENT_RANDOM_SCHEMES

DECIMALS = 3
"""Of gains."""
NAMES = {ACTIVATION: "activation clusters", GRADIENT_RANDOM_SCHEMES[0]: "random groups of the same sizes"}


def gradient_sentences(findings: GradientFindings) -> list[str]:
    """The choice of the number of clusters, and the gains of other groups of the same samples."""
    quality = findings.quality
    gains = {int(row["count"]): row for row in quality["gains"]}
    chosen, best = gains[quality["groups"]], max(gains.values(), key=lambda row: row["mean"])
    others = [
        f"{NAMES.get(scheme, f'groups by {scheme}')} {_gain(row)}"
        for scheme, row in sorted(quality["schemes"].items(), key=lambda item: -item[1]["mean"])
    ]
    return [
        f"Of {min(gains)} to {max(gains)} clusters, {chosen['count']} is the smallest number whose held-out gain "
        f"({_gain(chosen)}) is within a standard error of the largest ({_gain(best)}, {best['count']} clusters).",
        f"Held-out gains of groups that do not depend on gradients: {listed(others)}.",
    ]


def _gain(row: Mapping[str, Any]) -> str:
    return f"{number(row['mean'], DECIMALS)} \N{PLUS-MINUS SIGN} {number(row['error'], DECIMALS)}"
