"""`docs.picture`: every method has its label at the end of its line, and the same table gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from docs.picture import NAMES, draw


def test_every_line_is_labelled_and_the_same_table_gives_the_same_bytes(tmp_path: Path):
    rows = [("test", "dense", 1.0, 0.9)]
    for number, method in enumerate(NAMES):
        rows += [("test", method, compute, 0.9 * compute - 0.1 * number) for compute in (0.8, 0.6)]
    table = pd.DataFrame(rows, columns=["split", "method", "compute", "accuracy"])
    table = table.assign(low=table["accuracy"] - 0.02, high=table["accuracy"] + 0.02)
    for name in ("first.svg", "second.svg"):
        draw(table, tmp_path / name)
    text = (tmp_path / "first.svg").read_text()
    assert all(f"<!-- {label} -->" in text for label in (*NAMES.values(), "dense"))
    assert text == (tmp_path / "second.svg").read_text()
