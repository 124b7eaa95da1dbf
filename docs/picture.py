"""The picture of README.md: accuracy against the compute that remains, from the plot data of a run.

python -m docs.picture     data/plots/accuracy.csv -> docs/images/accuracy.svg
"""

from __future__ import annotations

import logging
from pathlib import Path

import matplotlib as mpl
import pandas as pd

TABLE = Path("data/plots/accuracy.csv")
PICTURE = Path(__file__).with_name("images") / "accuracy.svg"
NAMES = {
    "kl": "WINA, model-wide allocation, pooled",
    "greedy": "WINA, greedy, pooled",
    "clustered_routed": "WINA, greedy, routed clusters",
    "wina": "WINA, uniform",
    "teal": "TEAL, uniform",
}
"""Methods that are drawn -> their labels."""
GAP = 4.0
"""Least distance of two labels, in points of accuracy."""
COLOURS = ("#4b3fa7", "#1b9e77", "#b8860b", "#e8632b", "#2a78d2")


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw the test accuracy of the methods in `NAMES`, labels at the ends of their lines, as SVG.

    Args:
        table: columns split, method, compute (fraction of the dense FLOPs), accuracy, low, high.
        path: the file to write.
    """
    mpl.use("svg")
    from matplotlib import pyplot

    mpl.rcParams["svg.hashsalt"] = "accuracy"
    figure, axes = pyplot.subplots(figsize=(7.2, 3.8), layout="constrained")
    test = table[table["split"] == "test"]
    heights: list[float] = []
    lines = [
        (test[test["method"] == method].sort_values("compute", ascending=False), label, colour)
        for (method, label), colour in zip(NAMES.items(), COLOURS, strict=True)
    ]
    for rows, label, colour in sorted(lines, key=lambda line: -line[0]["accuracy"].iloc[-1]):
        x, y = 100 * rows["compute"], 100 * rows["accuracy"]
        axes.errorbar(x, y, (y - 100 * rows["low"], 100 * rows["high"] - y), color=colour, marker="o", lw=1.8, ms=5)
        height = min([y.iloc[-1], *(height - GAP for height in heights[-1:])])
        heights.append(height)
        axes.annotate(label, (x.iloc[-1], height), xytext=(8, 0), textcoords="offset points", color=colour, va="center")
    dense = 100 * test.loc[test["method"] == "dense", "accuracy"].iloc[0]
    axes.axhline(dense, color="black", ls="--", lw=1)
    axes.annotate(
        "dense", (1, dense), xycoords=("axes fraction", "data"), xytext=(-2, 3), textcoords="offset points", ha="right"
    )
    axes.set(xlabel="FLOPs that remain, % of dense", ylabel="test accuracy, %")
    axes.invert_xaxis()
    axes.margins(x=0.04)
    left, right = axes.get_xlim()
    axes.set_xlim(left, right - 0.48 * (left - right))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    draw(pd.read_csv(TABLE), PICTURE)
    logging.info("wrote %s from %s", PICTURE.name, TABLE)
