"""`wina_amp.allocation.kl.plan`: a descent reads the tokens that it is given, however long the texts are."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wina_amp.allocation.kl.plan import group_plan, pooled_plan

lengths, steps, tokens = st.integers(1, 10**4), st.integers(1, 1000), st.integers(1, 10**9)


@given(lengths, steps, tokens)
def test_the_steps_read_at_most_the_budget_and_one_text_more_each_would_exceed_it(length: int, steps: int, tokens: int):
    plan = pooled_plan(length, steps=steps, tokens=tokens, rate=0.1)
    texts = Fraction(tokens, steps * length)  # exactly
    assert (plan.steps, plan.rate) == (steps, 0.1)
    assert plan.batch == max(1, texts.__floor__()) or plan.batch == pytest.approx(float(texts), abs=1)
    assert plan.batch <= max(1, texts * (1 + Fraction(1, 10**12)))


@given(lengths, st.integers(2, 1000).map(lambda number: 2 * (number // 2)), tokens)
def test_a_group_takes_half_the_steps_of_half_as_many_texts(length: int, steps: int, tokens: int):
    pooled, group = (plan(length, steps=steps, tokens=tokens, rate=0.1) for plan in (pooled_plan, group_plan))
    assert (2 * group.steps, group.rate, group.compared) == (pooled.steps, pooled.rate, pooled.compared)
    assert group.batch == max(1, pooled.batch // 2)


def test_the_default_budget_on_the_embedded_texts_is_64_texts_a_step_and_256_compared():
    plan = pooled_plan(58.14, steps=40, tokens=150000, rate=0.05)
    assert (plan.batch, plan.compared) == (64, 257)
