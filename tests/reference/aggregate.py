"""Slow, obvious transcription of aggregation: add up dictionaries, row by row."""

from __future__ import annotations

from collections import Counter


def merged(histograms, group_of):
    """{(group, block, projection, criterion): Counter of bin -> count} from rows of the table `histograms`."""
    merged_counts = {}
    for row in histograms.to_dict("records"):
        for projection in row["projections"].split():
            key = (group_of[row["sample_id"]], row["block"], projection, row["criterion"])
            total = merged_counts.setdefault(key, Counter())
            for index, count in enumerate(row["counts"], start=row["first_bin"]):
                total[int(index)] += int(count)
    return merged_counts
