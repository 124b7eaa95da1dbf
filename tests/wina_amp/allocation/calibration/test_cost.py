"""`wina_amp.allocation.calibration.cost`: what runs is counted, each value's cost once, over any interruption."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from tests.wina_amp.allocation.blocks import BINS, random_model, score_counts, texts
from wina_amp.allocation.calibration.cost import WITH_BACKWARD, Cost, Meter, MeteredStore
from wina_amp.allocation.calibration.texts import SMALL_BATCH, block_inputs
from wina_amp.allocation.greedy.advance import WORTH
from wina_amp.allocation.greedy.block_error import BlockError
from wina_amp.allocation.greedy.blockwise import block_paths
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights
from wina_amp.tokens.batching import batches

ROUNDING = 1e-9
"""Relative: sums of a few hundred float64 products of a whole number and a fraction."""
HALF = Fraction(1, 2)
WORK = {"a": 3, "b": 5, "c": 2}


class Memory(dict):
    """A store that forgets nothing."""

    put = dict.__setitem__


def allocate(store, stop_before=None):
    """Three values, the last one made in two steps; raises before one of them as an interruption would."""
    meter = Meter()
    kept = MeteredStore(store, meter)
    for name, tokens in WORK.items():
        if kept.get(name) is not None:
            continue
        meter.ran(tokens, HALF)
        meter.evaluated(1)
        if name == stop_before:
            return kept.cost
        meter.ran(tokens, HALF)
        kept.put(name, name.upper())
    meter.ran(7)
    kept.put("c", "C, improved")
    return kept.cost


def test_the_cost_is_that_of_one_uninterrupted_run_wherever_it_was_interrupted():
    whole = allocate(Memory())
    assert whole == Cost(tokens=sum(WORK.values()) + 7, evaluations=3)
    for stop in WORK:
        store = Memory()
        assert allocate(store, stop).tokens < whole.tokens
        assert allocate(store) == whole


@pytest.mark.tried("equal-bytes", "right")
def test_a_total_does_not_depend_on_the_order_of_its_additions():
    costs = [Cost(Fraction(10**16), 1), *(Cost(Fraction(number, 7), 1) for number in range(1, 30))]
    assert sum(float(cost.tokens) for cost in costs) != sum(float(cost.tokens) for cost in costs[::-1])
    assert sum(costs, Cost()).columns() == sum(costs[::-1], Cost()).columns()


def test_a_run_that_finds_everything_states_what_it_took_and_adds_nothing():
    store, meter = Memory(), Meter()
    kept = MeteredStore(store, meter)
    meter.ran(10, fraction=HALF)
    kept.leave_out()
    meter.ran(4, fraction=HALF)
    meter.evaluated(2)
    kept.put("a", [1])
    assert kept.cost.tokens == 2 and kept.cost.evaluations == 2
    again = MeteredStore(store, Meter())
    assert again.get("a") == [1] and again.get("b") is None
    assert again.cost == kept.cost == Cost.from_json(kept.cost.to_json())


@pytest.mark.parametrize("with_gradient", [False, True])
def test_every_call_of_a_layer_counts_its_fraction_and_a_recorded_one_its_backward_pass(with_gradient):
    loaded = random_model("llama")
    embedded = torch.randn(3, 5, loaded.model.config.hidden_size, requires_grad=with_gradient)
    meter = Meter()
    with meter.watching(loaded.layers):
        loaded.decoder(inputs_embeds=embedded, use_cache=False)
        with torch.inference_mode():
            loaded.decoder(inputs_embeds=embedded.detach(), use_cache=False)
    first = WITH_BACKWARD if with_gradient or any(p.requires_grad for p in loaded.model.parameters()) else 1
    assert meter.cost.tokens == pytest.approx(15 * (first + 1), rel=ROUNDING)
    loaded.decoder(inputs_embeds=embedded, use_cache=False)
    assert meter.cost.tokens == pytest.approx(15 * (first + 1), rel=ROUNDING)


@pytest.mark.parametrize("kind", ["llama", "phi3"])
def test_greedy_counts_what_block_errors_multiplied(kind):
    """q, k and v run on all tokens, what comes after them on the measured ones. What is known is not computed again."""
    loaded = random_model(kind)
    counts = score_counts(loaded, "wina")
    every = projections(loaded.model)
    own = [p for p in every if p.block == 1]
    inputs = block_inputs(loaded, texts(), dense_prefix=1, budget=100)[1]
    tried = {}
    for p in own:
        limits = torch.from_numpy(thresholds(BINS, counts[1, p.name], np.array([0.0, 0.5])))
        tried[p.name] = cutoffs(feature_weights("wina", p.module.weight, p.name), limits)
    costs = {p.name: p.gated_weights for p in own}
    attention = sum(costs[name] for name in costs if name in ("q", "k", "v", "qkv"))
    rest = sum(costs[name] for name in costs if name in ("o", "gate", "up", "gate_up", "down"))
    padded = sum(block_input.eligible.numel() for block_input in inputs)
    measured = sum(int(block_input.measured.sum()) for block_input in inputs)
    with BlockError(loaded, own, inputs, tried) as objective:
        dense = (padded * attention + measured * rest) / sum(costs.values())
        assert objective.evaluations == 1  # the check of the block's structure
        assert objective.tokens == pytest.approx(dense, rel=ROUNDING)
        objective.errors([(0,) * len(own), (*(0,) * (len(own) - 1), 1)])
        more = measured * costs["down"] / sum(costs.values())  # all that comes before is shared
        assert objective.evaluations == 3
        assert objective.tokens == pytest.approx(dense + more, rel=ROUNDING)


def test_a_product_that_is_advanced_counts_the_features_that_are_taken_out():
    loaded = random_model("llama")
    counts = score_counts(loaded, "wina")
    own = [p for p in projections(loaded.model) if p.block == 1]
    inputs = block_inputs(loaded, texts(), dense_prefix=1, budget=100)[1]
    tried = {}
    for p in own:
        limits = torch.from_numpy(thresholds(BINS, counts[1, p.name], np.array([0.0, WORTH / 2])))
        tried[p.name] = cutoffs(feature_weights("wina", p.module.weight, p.name), limits)
    measured = sum(int(block_input.measured.sum()) for block_input in inputs)
    fraction = own[-1].gated_weights / sum(p.gated_weights for p in own)
    with BlockError(loaded, own, inputs, tried) as objective:
        before = objective.tokens
        objective.errors([(*(0,) * (len(own) - 1), 1)])
        taken = (objective.tokens - before) / fraction * own[-1].in_features
    assert taken == pytest.approx(round(taken), abs=1e-6)  # a number of features; float64 sums and quotients
    assert 0 < taken < WORTH * measured * own[-1].in_features


def test_a_search_counts_its_pass_over_the_text_and_one_error_per_choice():
    loaded = random_model("llama")
    options = {"bins": BINS, "criterion": "wina", "stop": 0.5, "step": 0.5, "dense_prefix": 1, "budget": 200}
    meter = Meter()
    paths = list(block_paths(loaded, texts(), score_counts(loaded, "wina"), **options, meter=meter))
    lengths = [text.length for text in texts()]
    planned = batches(lengths, [text.sample_id for text in texts()], min(200, SMALL_BATCH))
    once = sum(len(batch) * max(lengths[number] for number in batch) for batch in planned)
    assert meter.cost.tokens > once
    rounds = sum(len(block.path.mean) - 1 for block in paths)
    assert 2 * len(paths) < meter.cost.evaluations <= 2 * len(paths) + 7 * rounds
