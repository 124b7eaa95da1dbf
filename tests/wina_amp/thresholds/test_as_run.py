"""`wina_amp.thresholds.as_run`: every mask meets its sparsity while all others are on, however deep the model is."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.wina_amp.allocation.blocks import CHANGING_ROPE, CONFIGS, SIZES, random_model, texts
from tests.wina_amp.models.rotated import rotated_model
from tests.wina_amp.thresholds.realised import realised, tensors
from wina_amp.errors import UserError
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.install import install
from wina_amp.models.families import family_of
from wina_amp.models.load import LoadedModel
from wina_amp.models.mask_sites import mask_sites
from wina_amp.scoring.criteria import criterion_row, projection_weights, scores
from wina_amp.thresholds.as_run import BINS, thresholds_as_run

CALIBRATION = {"dense_prefix": 1, "budget": 64}

POINTS = 0.001
"""A bin, 1/256 of an octave wide, holds at most a percent of the scores; interpolation in it leaves less than this. The
requirement is 0.5 points."""


@lru_cache
def deep_model(blocks: int) -> LoadedModel:
    """A random model whose blocks add much to the residual stream, so that masks shrink what comes behind them."""
    torch.manual_seed(0)
    config = LlamaConfig(**SIZES | {"num_hidden_layers": blocks, "initializer_range": 0.1})
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval().requires_grad_(False)
    return LoadedModel(model, None, torch.device("cpu"), family_of("llama"))


def allocation(loaded: LoadedModel, criterion: str, target: float) -> np.ndarray:
    """Sparsities about the target, another for every mask."""
    masks = mask_sites(loaded.model, criterion_row(criterion).reads)
    blocks = masks[-1].projection.block + 1
    spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(masks))
    return (target + spread).reshape(blocks, -1)


@pytest.mark.parametrize(("blocks", "target"), [(8, 0.25), (8, 0.5), (8, 0.75), (32, 0.5)])
@pytest.mark.parametrize("criterion", ["teal", "wina", "cats"])
def test_every_mask_meets_its_sparsity_on_the_calibration_text_however_deep(criterion, blocks, target):
    loaded = deep_model(blocks)
    sparsity = allocation(loaded, criterion, target)
    values = thresholds_as_run(loaded, texts(), sparsity, criterion=criterion, **CALIBRATION)
    np.testing.assert_allclose(realised(loaded, texts(), criterion, values, **CALIBRATION), sparsity, atol=POINTS)


def test_thresholds_of_the_dense_model_do_not():
    """Otherwise the test above would show nothing."""
    loaded = deep_model(8)
    sparsity = np.full((8, 7), 0.65)
    values = dense_thresholds(loaded, "wina", sparsity)
    assert realised(loaded, texts(), "wina", values, **CALIBRATION)[-1].max() > 0.65 + 50 * POINTS


@pytest.mark.parametrize("kind", [*CONFIGS, *CHANGING_ROPE, "rotated llama"])
@pytest.mark.parametrize("criterion", ["wina", "cats"])
def test_they_are_those_of_whole_passes_site_by_site_in_every_family(kind, criterion):
    loaded = rotated_model("llama") if kind == "rotated llama" else random_model(kind)
    sparsity = allocation(loaded, criterion, 0.5)
    fast = thresholds_as_run(loaded, texts(), sparsity, criterion=criterion, **CALIBRATION)
    np.testing.assert_array_equal(fast, transcription(loaded, criterion, sparsity))


def transcription(loaded: LoadedModel, criterion: str, sparsity: np.ndarray) -> np.ndarray:
    """For every site a whole pass over all texts under the masks found so far; masks at 0 zero nothing."""
    masks = mask_sites(loaded.model, criterion_row(criterion).reads)
    values = np.zeros(sparsity.size, dtype=np.float32)
    sites = [(mask.projection.block, mask.projection.site) for mask in masks]
    for site in dict.fromkeys(sites):
        members = [number for number, other in enumerate(sites) if other == site]
        values[members] = read_off(loaded, criterion, values.reshape(sparsity.shape), sparsity.ravel(), members)
    return values.reshape(sparsity.shape)


def dense_thresholds(loaded: LoadedModel, criterion: str, sparsity: np.ndarray) -> np.ndarray:
    nothing = np.zeros(sparsity.shape, dtype=np.float32)
    found = read_off(loaded, criterion, nothing, sparsity.ravel(), range(sparsity.size))
    return found.reshape(sparsity.shape)


def read_off(loaded, criterion, values, sparsity, members) -> np.ndarray:
    """Thresholds of some masks, from their scores while the model runs under masks at `values`."""
    masks = mask_sites(loaded.model, criterion_row(criterion).reads)
    counts = {number: np.zeros(BINS.count, dtype=np.int64) for number in members}
    current = []

    def see(number: int, x: torch.Tensor) -> None:
        found = scores(x, projection_weights(criterion, masks[number].projection))[current[0]]
        counts[number] += BINS.histogram(found.numpy())

    handles = [masks[number].tap.register(partial(see, number)) for number in members]
    with install(loaded, criterion, torch.from_numpy(values)[None]) as runtime, torch.inference_mode():
        for ids, counted in tensors(texts(), **CALIBRATION):
            current[:] = [counted]
            with runtime.rows(torch.zeros(len(ids), dtype=torch.int64), counted):
                loaded.decoder(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return thresholds(BINS, np.stack([counts[number] for number in members]), sparsity[list(members)])


def test_batches_of_another_size_change_rounding_alone():
    loaded, sparsity = deep_model(8), np.full((8, 7), 0.5)
    small, large = (
        thresholds_as_run(loaded, texts(), sparsity, criterion="wina", **CALIBRATION | {"budget": budget})
        for budget in (1, 10_000)
    )
    np.testing.assert_allclose(small, large, rtol=1e-3)


def test_sparsity_0_masks_nothing_but_zeros_and_1_everything():
    loaded, values = deep_model(8), {}
    for sparsity in (0.0, 1.0):
        values = thresholds_as_run(loaded, texts(), np.full((8, 7), sparsity), criterion="wina", **CALIBRATION)
        np.testing.assert_allclose(realised(loaded, texts(), "wina", values, **CALIBRATION), sparsity, atol=1e-9)


def test_neither_a_hook_nor_a_thread_is_left_also_after_an_error():
    loaded, before = deep_model.__wrapped__(8), threading.active_count()
    calibrate = partial(thresholds_as_run, loaded, texts(), np.full((8, 7), 0.5), criterion="wina", **CALIBRATION)
    calibrate()
    loaded.model.get_submodule("model.layers.5.self_attn.o_proj").weight[3, 3] = torch.nan
    with pytest.raises(UserError, match=r"must be finite.*NaN or infinity.*block 5, projection o"):
        calibrate()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.model.modules())
    assert threading.active_count() == before


def test_an_error_of_one_batch_ends_all_and_is_the_one_that_is_raised():
    loaded = deep_model(8)
    broken = [*texts(), replace(texts()[0], sample_id="bad", prompt_ids=[10**6] * 40)]
    with pytest.raises(IndexError):
        thresholds_as_run(loaded, broken, np.full((8, 7), 0.5), criterion="teal", **CALIBRATION)


def test_sparsities_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"must be \(8, 7\), got \(8, 1\)"):
        thresholds_as_run(deep_model(8), texts(), np.full((8, 1), 0.5), criterion="wina", **CALIBRATION)
