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
