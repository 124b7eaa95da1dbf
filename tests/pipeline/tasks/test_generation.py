"""`pipeline.tasks.generation`: stop texts and lengths, and greedy decoding only."""

from __future__ import annotations

import pytest

from pipeline.tasks.generation import Limits, limits
from wina_amp.errors import UserError


def test_limits_are_read_with_the_defaults_of_lm_eval():
    assert limits({"until": "\n"}, "t") == Limits(("\n",), 256)
    assert limits({"until": ["a", ""], "max_gen_toks": 8, "do_sample": False, "temperature": 0.0}, "t") == Limits(
        ("a",), 8
    )
    assert limits({"max_new_tokens": 3}, "t") == Limits((), 3)


@pytest.mark.parametrize("settings", [{"do_sample": True}, {"temperature": 0.7}, {"num_beams": 4}])
def test_anything_but_greedy_decoding_is_refused(settings: dict[str, object]):
    with pytest.raises(UserError, match=r"Generation must be greedy.*task poem.*do_sample: false"):
        limits(settings, "poem")


@pytest.mark.tried("ends", "refused")
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"until": [True]}, r"texts in `until`\. Found: \[True\]", id="a stop that is no text"),
        pytest.param({"until": 7}, r"texts in `until`\. Found: 7", id="a number as stop"),
        pytest.param({"max_gen_toks": 0}, r"at least 1\. Found: 0", id="no token at all"),
        pytest.param({"max_gen_toks": 2.5}, r"whole number.*Found: 2\.5", id="half a token"),
        pytest.param({"max_gen_toks": float("inf")}, r"whole number.*Found: inf", id="infinite length"),
        pytest.param({"repetition_penalty": 1.2}, r"Found: repetition_penalty", id="a repetition penalty"),
        pytest.param({"min_new_tokens": 4}, r"Found: min_new_tokens", id="a least number of tokens"),
    ],
)
def test_settings_that_would_be_ignored_or_fail_later_are_refused(settings: dict[str, object], message: str):
    with pytest.raises(UserError, match=rf"`generation_kwargs` must .*{message}.*task poem"):
        limits(settings, "poem")
