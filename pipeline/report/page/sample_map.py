"""The map of samples: the figure, and what the page's script needs to recolour it and to show prompts."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from pipeline.report.analysis.evidence import Evidence, groups_of
from pipeline.report.analysis.labels import labels
from pipeline.report.page.svg import SERIES, Figure, Scale, element, label, svg, text
from wina_amp.names import ACTIVATION

PROMPT = 160
"""Characters of a prompt that are shown: the end, where the question is."""


def map_of(evidence: Evidence, finding: str) -> tuple[Figure, dict[str, Any]]:
    """The figure, and its data: `labels` (title, values, the code of every dot) and `prompts`, in the order of dots."""
    positions = evidence.cluster_map.sort_values("sample_id").set_index("sample_id")
    samples: Any = evidence.samples.set_index("sample_id").loc[positions.index]
    groups = groups_of(evidence, ACTIVATION, cast(pd.Index, samples.index))
    figure = _draw(positions["x"].to_numpy(), positions["y"].to_numpy(), groups, finding)
    values, codes = np.unique(groups, return_inverse=True)
    known = [("group", [str(value) for value in values], codes)]
    known += [
        (entry.title, [label(value) for value in entry.values], entry.codes) for entry in labels(samples).values()
    ]
    return figure, {
        "labels": [{"title": title, "values": names, "codes": codes.tolist()} for title, names, codes in known],
        "prompts": [_end(prompt) for prompt in samples["prompt"]],
    }


def _draw(x: np.ndarray, y: np.ndarray, groups: np.ndarray, finding: str) -> Figure:
    """Coloured and numbered by group; the script recolours it by label and shows prompts."""
    width, height = 720, 560
    across = Scale(float(x.min()), float(x.max()), 14, width - 14)
    down = Scale(float(y.min()), float(y.max()), height - 14, 14)
    dots = "".join(
        f'<circle cx="{across(float(a)):.0f}" cy="{down(float(b)):.0f}" r="3" fill="var(--{SERIES[min(group, 7)]})"/>'
        for a, b, group in zip(x, y, groups, strict=True)
    )
    numbers = ""
    for group in np.unique(groups):
        chosen = groups == group
        away = (x[chosen] - np.median(x[chosen])) ** 2 + (y[chosen] - np.median(y[chosen])) ** 2
        middle = int(away.argmin())
        at = across(float(x[chosen][middle])), down(float(y[chosen][middle])) - 7
        halo = {"stroke": "var(--paper)", "stroke_width": 4, "paint_order": "stroke", "text_anchor": "middle"}
        numbers += text(*at, str(group), fill="var(--ink)", font_size=20, font_weight=700, **halo)
    alt = f"Map of {len(x):,} samples by activation signature, coloured by group. {finding}"
    content = element("g", dots, class_="dots", fill_opacity=0.75) + element("g", numbers, class_="numbers")
    caption = "Every dot is a sample; numbers mark the middle of a group. Point at a dot to read the end of its prompt."
    return Figure("map", alt, caption, svg(width, height, content, alt))


def _end(prompt: str) -> str:
    text = label(prompt, len(prompt))
    return text if len(text) <= PROMPT else f"\N{HORIZONTAL ELLIPSIS}{text[-PROMPT:]}"
