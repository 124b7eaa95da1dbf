"""Slow, obvious transcription of aggregation: add up dictionaries, row by row."""

from __future__ import annotations

from collections import Counter


def merged(histograms, group_of):
    """{(group, block, projection, criterion): Counter of bin -> count} from rows of the table `histograms`."""
    found = {}
    for row in histograms.to_dict("records"):
        key = (group_of[row["sample_id"]], row["block"], row["projection"], row["criterion"])
        total = found.setdefault(key, Counter())
        for index, count in zip(row["bins"], row["counts"], strict=True):
            total[int(index)] += int(count)
    return found
