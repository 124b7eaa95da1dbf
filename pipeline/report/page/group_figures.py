"""RQ1's figures of numbers: agreement with every label, for the learned groups and over depth (the maps are in
`pipeline/report/page/figures.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.report.analysis.agreement import LabelAgreement
from pipeline.report.analysis.variants import Variant, VariantLabel, by_block, without_length
from pipeline.report.page import style
from pipeline.report.page.figures import PANEL, interval_mark
from pipeline.report.page.style import GRID, INK, MUTED, PAPER, SEQUENTIAL, Figure

DODGE = 0.045
"""How far the labels of one block stand apart, in blocks, so that their intervals do not hide each other."""


def agreement_panel(rows: Sequence[LabelAgreement], name: str) -> Figure:
    """NMI of the groups with every label, with interval, and the same for random groups."""
    with style.styled():
        figure = style.canvas(PANEL * 1.25, 0.36 * len(rows) + 0.9)
        axes: Any = figure.add_subplot()
        for i, row in enumerate(rows):
            height = len(rows) - 1 - i
            if row.chance is not None:
                axes.plot(row.chance.nmi.value, height, "o", ms=6, mfc="none", mec=MUTED, mew=1.2)
            interval_mark(axes, row.agreement.nmi, height, SEQUENTIAL, 7, "o", 2.2)
        axes.set_yticks(range(len(rows)), [row.label.title for row in reversed(rows)])
        axes.tick_params(axis="y", labelcolor=INK)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("NMI with the groups; open: with random groups")
        axes.grid(axis="y", visible=False)
        alt = "; ".join(f"{row.label.title} {row.agreement.nmi.value:.2f}" for row in rows)
        return style.to_svg(figure, name, f"Normalised mutual information of groups and labels: {alt}.")


def depth_panel(
    whole: Sequence[LabelAgreement], variants: Sequence[Variant], shown: Sequence[str], alpha: float, name: str
) -> Figure:
    """NMI of every label in `shown` with the groups of every block alone, of all blocks, and of all without length.

    A filled marker is one whose corrected permutation p-value is below `alpha`.
    """
    blocks, apart = by_block(list(variants)), without_length(list(variants))
    ends = {"all\nblocks": None, **({"length\nremoved": apart} if apart else {})}
    start = len(blocks) + 0.4
    with style.styled():
        figure = style.canvas(min(2 * PANEL, 2.6 + 0.62 * (len(blocks) + 2)), PANEL * 0.8)
        axes: Any = figure.add_subplot()
        kept = [row for row in whole if row.label.name in shown]
        for i, row in enumerate(kept):
            shift, colour, marker = (i - (len(kept) - 1) / 2) * DODGE, style.series(i), style.MARKERS[i % 6]
            line = [(number + shift, variant.row(row.label.name)) for number, variant in enumerate(blocks)]
            axes.plot([x for x, _ in line], [label.agreement.nmi.value for _, label in line], color=colour, lw=1.4)
            whole_model = [row if variant is None else variant.row(row.label.name) for variant in ends.values()]
            line += [(start + number + shift, label) for number, label in enumerate(whole_model)]
            for x, label in line:
                _upright(axes, x, label, colour, marker, label.p_corrected < alpha)
            axes.plot([], [], marker, color=colour, ms=5.5, label=row.label.title)
        axes.axvline(start - 0.7, color=GRID, lw=1)
        axes.set_xticks([*range(len(blocks)), *(start + number for number in range(len(ends)))],
                        [*(str(variant.block) for variant in blocks), *ends])  # fmt: skip
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("signatures of one block, and of the whole model")
        axes.set_ylabel("NMI with the groups")
        axes.grid(axis="x", visible=False)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8.5, labelcolor=INK, handletextpad=0.3)
        leaders = "; ".join(f"{row.label.title} {row.agreement.nmi.value:.2f}" for row in kept)
        alt = f"Normalised mutual information of labels with groups of each of {len(blocks)} blocks; all: {leaders}."
        return style.to_svg(figure, name, alt)


def _upright(axes: Any, x: float, row: LabelAgreement | VariantLabel, colour: str, marker: str, is_shown: bool) -> None:
    nmi = row.agreement.nmi
    axes.plot([x, x], [nmi.low, nmi.high], color=colour, lw=1.6, solid_capstyle="round", alpha=0.6)
    face = {"mec": PAPER, "mew": 0.7, "mfc": colour} if is_shown else {"mec": colour, "mew": 1.2, "mfc": PAPER}
    axes.plot(x, nmi.value, marker, ms=6, **face)
