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


@given(lengths, st.integers(1, 250).map(lambda number: 4 * number), tokens)
def test_a_group_takes_a_quarter_of_the_steps(length: int, steps: int, tokens: int):
    pooled, group = (plan(length, steps=steps, tokens=tokens, rate=0.1) for plan in (pooled_plan, group_plan))
    assert (4 * group.steps, group.batch, group.rate, group.compared) == (
        pooled.steps,
        pooled.batch,
        pooled.rate,
        pooled.compared,
    )


def test_the_default_budget_on_the_embedded_texts_is_16_texts_a_step_and_257_compared():
    plan = pooled_plan(58.14, steps=160, tokens=150000, rate=0.07)
    assert (plan.batch, plan.compared) == (16, 257)
