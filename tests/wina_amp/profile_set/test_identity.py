"""`wina_amp.profile_set.identity`: the same weights are recognised in any dtype, others are refused by their
distance."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.profile_set.identity import (
    MOST_DISTANCE,
    Shapes,
    check_shapes,
    check_weights,
    distance,
    shapes_of,
    sketch,
)


def _changed(loaded: LoadedModel, fraction: float, seed: int = 0):
    """A copy whose projections differ by noise of this fraction of their norms."""
    model = copy.deepcopy(loaded.model)
    draw = torch.Generator().manual_seed(seed)
    for projection in projections(model):
        weight = projection.module.weight
        noise = torch.randn(weight.shape, generator=draw)
        weight += noise * fraction * weight.norm() / noise.norm()
    return model


def _slow_sketch(loaded: LoadedModel) -> list[float]:
    """a^T W b / ||W||, written out with sums over all weights."""
    import numpy as np

    values = []
    for index, projection in enumerate(projections(loaded.model)):
        weight = projection.module.weight.double().numpy()
        rows = 2.0 * np.random.default_rng([index, 0, weight.shape[0]]).integers(0, 2, weight.shape[0]) - 1
        columns = 2.0 * np.random.default_rng([index, 1, weight.shape[1]]).integers(0, 2, weight.shape[1]) - 1
        values.append(float((np.outer(rows, columns) * weight).sum() / np.sqrt((weight**2).sum())))
    return values


def test_the_sketch_is_the_sum_over_signed_weights(tiny_loaded: LoadedModel):
    rounding = 1e-5  # float32 sums of at most 1,536 numbers, over their norm
    assert sketch(tiny_loaded.model).flatten().tolist() == pytest.approx(_slow_sketch(tiny_loaded), abs=rounding)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_model_is_itself_in_every_dtype(kind: str):
    loaded = random_model(kind)
    made_for = sketch(loaded.model)
    assert distance(made_for, sketch(loaded.model)) == 0
    for dtype in (torch.bfloat16, torch.float16):
        same = copy.deepcopy(loaded.model).to(dtype)
        assert distance(made_for, sketch(same)) < MOST_DISTANCE / 3
        check_weights(made_for, same)


@pytest.mark.parametrize("fraction", [0.003, 0.03, 0.3])
def test_the_distance_estimates_how_far_weights_differ(tiny_loaded: LoadedModel, fraction: float):
    """Of 14 projections one estimate is within a factor of 2 or so; the mean square over 30 draws within a fifth."""
    made_for = sketch(tiny_loaded.model)
    squares = [distance(made_for, sketch(_changed(tiny_loaded, fraction, seed))) ** 2 for seed in range(30)]
    assert (sum(squares) / len(squares)) ** 0.5 == pytest.approx(fraction, rel=0.2)


def test_other_weights_of_the_same_shapes_are_refused(tiny_loaded: LoadedModel):
    made_for = sketch(tiny_loaded.model)
    check_weights(made_for, _changed(tiny_loaded, MOST_DISTANCE / 4))
    with pytest.raises(UserError, match=r"up to 1%\. Found: weights that differ by about \d+\.\d% of their size"):
        check_weights(made_for, _changed(tiny_loaded, 4 * MOST_DISTANCE))
    torch.manual_seed(1)
    another = AutoModelForCausalLM.from_config(tiny_loaded.model.config)
    assert distance(made_for, sketch(another)) > 0.7
    with pytest.raises(UserError, match="load the checkpoint that the profile set's README"):
        check_weights(made_for, another)


def test_weights_that_are_not_numbers_are_refused(tiny_loaded: LoadedModel):
    with pytest.raises(UserError, match="differ by about nan"):
        check_weights(sketch(tiny_loaded.model), _changed(tiny_loaded, torch.nan))


def test_other_shapes_are_refused(tiny_loaded: LoadedModel):
    expected = Shapes("llama", 2, {"q": (32, 32)})
    check_shapes(expected, Shapes("llama", 2, {"q": (32, 32)}))
    with pytest.raises(
        UserError, match=r"made for: llama of 2 blocks with q 32x32\. Found: qwen2 of 3 blocks with q 8x4"
    ):
        check_shapes(expected, Shapes("qwen2", 3, {"q": (8, 4)}))
    shapes = shapes_of(tiny_loaded.model)
    assert (shapes.family, shapes.blocks, shapes.projections["down"]) == ("llama", 2, (32, 48))
