"""Sentences of the sections that count samples."""

from __future__ import annotations

from pipeline.report.page.sections import left_out
from tests.pipeline.report.synthetic import make_counts


def test_skipped_missing_and_repeated_items_are_counted_by_task_and_split(evidence):
    assert left_out(evidence.sample_counts) == []
    counts = make_counts(evidence.samples[evidence.samples["task"] == "facts"])
    too_few, too_long = left_out(counts.assign(too_long=[0, 3], wanted=counts["taken"] + [0, 2]))
    (both,) = left_out(counts.assign(in_both_splits=[0, 4]))
    (contradicting,) = left_out(counts.assign(contradicting=[2, 0]))
    assert both == "Questions that stand in the train and in the test split: 4 of `facts` (train)."
    assert contradicting == "Questions that are asked elsewhere with another right answer: 2 of `facts` (test)."
    assert "3 of `facts` (train)" in too_long and "8 of 10 for `facts` (train)" in too_few
