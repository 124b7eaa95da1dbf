"""Model and time in words."""

from __future__ import annotations

import pytest

from pipeline.report.text.provenance import FAMILIES, model_in_words, time_in_words
from wina_amp.models import families


def test_every_family_has_a_name():
    assert FAMILIES.keys() == families.FAMILIES.keys()


def test_models_are_named_with_their_family_and_size():
    gemma = model_in_words("gemma-3-270m", "gemma3_text", 268_042_240, 18, "float32")
    assert gemma == "gemma-3-270m (Gemma 3, 268 million parameters, 18 blocks, float32)"
    assert "8.0 billion" in model_in_words("meta-llama/Llama-3-8B", "llama", 8_030_000_000, 32, "bfloat16")
    embedded = model_in_words("model", "llama", 2_054_016, 5, "float32", is_embedded=True)
    assert embedded.startswith("the embedded model, which this repository trained") and "2 million" in embedded


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (119, "119 s"), (120, "2 minutes"), (500, "8 minutes"), (7200, "2.0 hours")],
)
def test_times_are_as_exact_as_they_are_repeatable(seconds, words):
    assert time_in_words(seconds, is_all=True) == words
    assert time_in_words(seconds, is_all=False) == f"{words}, beside what came from a cache"
