"""`pipeline.estimate.page`: a short aligned table that says it is an estimate, and of what."""

from __future__ import annotations

import pytest

from pipeline.estimate.page import amount, duration, page


def test_the_page_is_aligned_says_what_it_is_and_has_one_row_for_stages_of_a_kind():
    seconds = [("capture", 20.0), *((f"evaluate@{method}", 82.5) for method in range(8))]
    text = page(seconds, 32, [("disk", "18 MB"), ("GPU memory", "16 GB")], ["All is well."], "CPU")
    lines = text.splitlines()
    assert lines[0].startswith("At most 9 of 32 stages would run. An ESTIMATE") and "CPU" in lines[0]
    body = lines[2:6]
    assert len({len(line) for line in body}) == 1
    assert body[2].split() == ["evaluate", "8", "11", "min"] and body[3].split() == ["together", "9", "11", "min"]
    assert lines[7] == "  disk        18 MB" and lines[8] == "  GPU memory  16 GB"
    assert lines[-1] == "  - All is well."
    assert max(len(line) for line in lines) <= 100


def test_nothing_to_do_is_said_in_one_line():
    assert page([], 32, [], [], "") == "Nothing to do: all 32 stages are up to date."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(8.4, "8 s"), (89, "89 s"), (100, "2 min"), (700, "12 min"), (9000, "2.5 h"), (90_000, "25 h")],
)
def test_durations_have_few_figures(seconds: float, text: str):
    assert duration(seconds) == text


def test_amounts_have_units():
    assert amount(18e6) == "18 MB" and amount(16.06e9) == "16.1 GB"
