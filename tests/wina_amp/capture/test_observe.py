"""`wina_amp.capture.observe`: what the hooks count equals scoring the recorded inputs; hooks never stay and change
nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from wina_amp.capture.observe import Observer, Scoring
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.models.load import load
from wina_amp.models.projections import projections, sites
from wina_amp.scoring.criteria import feature_weights, scores

BINS = Bins(4)
CRITERIA = ("teal", "wina")
FLOAT32_SUM = 1e-5
"""Relative rounding of a float32 sum over a batch's tokens of values that are themselves rounded products."""

IDS = torch.randint(3, 64, (3, 9), generator=torch.Generator().manual_seed(1))
HISTOGRAM_ROWS = torch.tensor([[-1, 0, 0, 0, 0, 0, -1, -1, -1], [-1] * 9, [-1, -1, 1, 1, 1, 1, 1, 1, 1]])
SIGNATURE_ROWS = torch.tensor([[-1, 0, 0, 0, -1, -1, -1, -1, -1], [1] * 9, [-1, -1, 2, 2, 2, 2, -1, -1, -1]])


def _observed(loaded):
    with Observer(loaded, CRITERIA, BINS) as observer:
        with observer.batch(HISTOGRAM_ROWS, SIGNATURE_ROWS), torch.inference_mode():
            loaded.decoder(input_ids=IDS, use_cache=False)
        return observer.take()


def _hooks(model):
    return sum(len(module._forward_pre_hooks) + len(module._forward_hooks) for module in model.modules())


@pytest.fixture
def inputs(tiny_loaded):
    """The input of every projection, recorded by hooks of the test's own."""
    inputs, handles = {}, []
    for projection in projections(tiny_loaded.model):
        key = (projection.block, projection.name)
        handles.append(
            projection.module.register_forward_pre_hook(lambda _, args, key=key: inputs.__setitem__(key, args[0]))
        )
    with torch.inference_mode():
        tiny_loaded.decoder(input_ids=IDS, use_cache=False)
    for handle in handles:
        handle.remove()
    return inputs


def test_histograms_are_those_of_the_scores_of_every_projection_and_criterion(tiny_loaded, inputs):
    modules = {(p.block, p.name): p.module for p in projections(tiny_loaded.model)}
    checked = 0
    for seen in _observed(tiny_loaded):
        for name, criterion, counts in seen.by_projection():
            weights = feature_weights(criterion, modules[seen.site.block, name].weight)
            values = scores(inputs[seen.site.block, name], weights)
            for row in (0, 1):
                expected = BINS.histogram(values[row == HISTOGRAM_ROWS].numpy())
                assert np.array_equal(counts[row], expected)
                checked += 1
    assert checked == 2 * 7 * 2 * 2  # blocks x projections x criteria x rows


def test_projections_with_equal_weights_share_a_scoring_and_those_with_their_own_do_not(tiny_loaded):
    with Observer(tiny_loaded, ("teal", "wina_released"), BINS) as observer:
        with observer.batch(HISTOGRAM_ROWS, SIGNATURE_ROWS), torch.inference_mode():
            tiny_loaded.decoder(input_ids=IDS, use_cache=False)
        first = observer.take()[0]
    assert first.scorings == (
        Scoring(("q", "k", "v"), "teal"),
        Scoring(("q", "v"), "wina_released"),
        Scoring(("k",), "wina_released"),
    )
    teal, released, norms = first.counts.swapaxes(0, 1)
    assert np.array_equal(teal, released) and not np.array_equal(teal, norms)
    assert len(list(first.by_projection())) == 6


def test_under_cats_the_activated_gate_is_counted_for_down_and_nothing_else_changes(tiny_loaded):
    gates, handles = [], []
    for layer in tiny_loaded.model.model.layers:
        handles.append(layer.mlp.act_fn.register_forward_hook(lambda _module, _args, output: gates.append(output)))
    with Observer(tiny_loaded, ("teal", "cats", "wina"), BINS) as observer:
        with observer.batch(HISTOGRAM_ROWS, SIGNATURE_ROWS), torch.inference_mode():
            tiny_loaded.decoder(input_ids=IDS, use_cache=False)
        *others, first, second = observer.take()
    for handle in handles:
        handle.remove()
    for block, (seen, gate) in enumerate(zip((first, second), gates, strict=True)):
        assert (seen.site.block, seen.site.name, seen.scorings) == (
            block,
            "activated_gate",
            (Scoring(("down",), "cats"),),
        )
        assert seen.magnitudes.shape == (0, 48)
        for row in (0, 1):
            assert np.array_equal(seen.counts[row, 0], BINS.histogram(gate[row == HISTOGRAM_ROWS].abs().numpy()))
    for seen, plain in zip(others, _observed(tiny_loaded), strict=True):
        assert (seen.site, seen.scorings) == (plain.site, plain.scorings)
        assert np.array_equal(seen.counts, plain.counts) and np.array_equal(seen.magnitudes, plain.magnitudes)
    assert _hooks(tiny_loaded.model) == 0


def test_magnitudes_are_weighted_by_all_that_reads_the_feature(tiny_loaded, inputs):
    for seen in _observed(tiny_loaded):
        stacked = torch.cat([projection.module.weight for projection in seen.site.projections])
        x = inputs[seen.site.block, seen.site.projections[0].name]
        for row in (0, 1, 2):
            expected = x[row == SIGNATURE_ROWS].abs().sum(dim=0) * stacked.norm(dim=0)
            np.testing.assert_allclose(seen.magnitudes[row], expected.numpy(), rtol=FLOAT32_SUM)


def test_sites_come_in_the_order_of_the_model(tiny_loaded):
    assert [seen.site for seen in _observed(tiny_loaded)] == sites(projections(tiny_loaded.model))


def test_observing_changes_nothing_the_model_computes_and_leaves_no_hook(tiny_loaded):
    before = _hooks(tiny_loaded.model)
    with torch.inference_mode():
        plain = tiny_loaded.decoder(input_ids=IDS).last_hidden_state
        with Observer(tiny_loaded, CRITERIA, BINS) as observer, observer.batch(HISTOGRAM_ROWS, SIGNATURE_ROWS):
            watched = tiny_loaded.decoder(input_ids=IDS).last_hidden_state
    assert torch.equal(plain, watched)
    assert _hooks(tiny_loaded.model) == before


def test_hooks_are_removed_after_an_error(tiny_loaded):
    before = _hooks(tiny_loaded.model)
    with (
        pytest.raises(IndexError),
        Observer(tiny_loaded, CRITERIA, BINS) as observer,
        observer.batch(HISTOGRAM_ROWS, SIGNATURE_ROWS),
    ):
        assert _hooks(tiny_loaded.model) > before
        tiny_loaded.decoder(input_ids=IDS + 10**6)
    assert _hooks(tiny_loaded.model) == before


def test_a_pass_outside_a_batch_is_not_counted(tiny_loaded):
    expected = _observed(tiny_loaded)
    with Observer(tiny_loaded, CRITERIA, BINS) as observer, torch.inference_mode():
        tiny_loaded.decoder(input_ids=IDS)
        with observer.batch(HISTOGRAM_ROWS, SIGNATURE_ROWS):
            tiny_loaded.decoder(input_ids=IDS)
        tiny_loaded.decoder(input_ids=IDS)
        observations = observer.take()
    assert all(np.array_equal(a.counts, b.counts) for a, b in zip(observations, expected, strict=True))


def test_take_needs_a_finished_batch(tiny_loaded):
    with Observer(tiny_loaded, CRITERIA, BINS) as observer, pytest.raises(RuntimeError, match="once per batch"):
        observer.take()


@pytest.mark.parametrize(
    ("layer", "where"), [("mlp.down_proj", "block 0, projection down"), ("self_attn.k_proj", "block 0, projection k")]
)
def test_weights_that_make_scores_infinite_are_named_by_block_and_projection(tiny_llama, layer, where):
    loaded = load(tiny_llama, revision=None, dtype="float32", device="cpu")
    loaded.model.model.layers[0].get_submodule(layer).weight[0, 3] = float("inf")
    with pytest.raises(UserError, match=rf"finite.*NaN or infinity.*{where}"):
        _observed(loaded)


def test_activations_that_are_nan_are_named_where_they_first_appear(tiny_llama):
    loaded = load(tiny_llama, revision=None, dtype="float32", device="cpu")
    loaded.model.model.layers[0].mlp.down_proj.weight[0, 3] = float("nan")
    with pytest.raises(UserError, match=r"block 0, projection down"):
        _observed(loaded)
    with (
        pytest.raises(UserError, match=r"block 1, projection q"),  # teal does not look at the weights of block 0
        Observer(loaded, ("teal",), BINS) as observer,
    ):
        with observer.batch(HISTOGRAM_ROWS, torch.full_like(SIGNATURE_ROWS, -1)), torch.inference_mode():
            loaded.decoder(input_ids=IDS)
        observer.take()
