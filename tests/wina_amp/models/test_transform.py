"""`wina_amp.models.transform`: what a basis guarantees; a transformed model of any family is still the same model."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch

from tests.reference.transform import basis as slow_basis
from tests.wina_amp.allocation.blocks import CONFIGS
from tests.wina_amp.models.rotated import BLOCKS, rotated_model, uneven_model
from wina_amp.capture.observe import Observer
from wina_amp.errors import UserError
from wina_amp.histograms.bins import Bins
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.eligibility import eligible
from wina_amp.masks.install import install
from wina_amp.models.projections import projections
from wina_amp.models.transform import LEADING, ORTHOGONAL_WITHIN, basis, block_bases, rotate_block
from wina_amp.scoring.criteria import column_norms, scores

IDS = torch.randint(3, 64, (3, 9), generator=torch.Generator().manual_seed(2))
LENGTHS = torch.tensor([9, 4, 7])
COUNTED = eligible(LENGTHS, LENGTHS, 9, 1)
GROUPS = torch.zeros(3, dtype=torch.int64)

DECOMPOSITION = 1e-9
"""Absolute, on vectors of length 1: float64's 1e-16 times the square of the condition number, here up to 1e3."""
FLOAT32 = 1e-4
"""Largest difference of two logits relative to their RMS: float32 products of up to 48 terms in another basis, through
two blocks whose random weights amplify it. Found: 1.3e-6 to 7e-6."""
AS_GOOD_AS_BFLOAT16 = 2.0
"""The transformed model's RMS error in bfloat16, relative to the dense model's error in bfloat16, both against float32.
Rounding x' and V adds one or two roundings of the 8-bit mantissa to each site. Found: 1.06 to 1.28."""
FLOAT32_ANGLE = 1e-5
"""Largest cosine between two columns after one rounding of their entries to float32, for columns that are not tiny."""


def _random(rows, columns, seed=0, rank=None):
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    if rank is not None:
        weights = weights[:, :rank] @ torch.randn(rank, columns, generator=generator, dtype=torch.float64)
    return weights


SHAPES = {
    "square": (_random(8, 8), _random(12, 8, 1), 8),
    "grouped queries": (_random(3, 8), _random(11, 8, 1), 3),
    "deficient": (_random(8, 8, rank=5), _random(12, 8, 1), 5),
    "nobody reads": (_random(2, 8), _random(3, 8, 1), 2),
    "alone": (_random(3, 8), _random(0, 8, 1), 3),
    "zero": (torch.zeros(4, 8, dtype=torch.float64), _random(8, 8, 1), 0),
    "wide range": (_random(16, 8) * torch.logspace(0, -3, 8, dtype=torch.float64), _random(16, 8, 1), 8),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_basis_is_orthogonal_and_makes_the_columns_of_the_leading_map_orthogonal(name):
    leading, rest, rank = SHAPES[name]
    right = basis(leading, [rest])
    identity = torch.eye(8, dtype=torch.float64)
    torch.testing.assert_close(right.vectors.T @ right.vectors, identity, rtol=0, atol=ORTHOGONAL_WITHIN)
    gram = (leading @ right.vectors).T @ (leading @ right.vectors)
    torch.testing.assert_close(gram, right.values.square().diag(), rtol=0, atol=DECOMPOSITION)
    assert int((right.values > 0).sum()) == rank
    assert (right.values.diff() <= 0).all()


@pytest.mark.parametrize("name", SHAPES)
def test_a_basis_is_that_of_singular_value_decompositions_within_and_outside_the_leading_map(name):
    leading, rest, rank = SHAPES[name]
    expected = slow_basis(leading.numpy(), rest.numpy(), rank)
    vectors = basis(leading, [rest]).vectors.numpy()[:, : expected.shape[1]]
    expected *= np.sign((vectors * expected).sum(axis=0))
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=DECOMPOSITION)


def test_in_the_null_space_the_columns_of_the_other_maps_are_orthogonal_and_ordered():
    leading, rest, rank = SHAPES["grouped queries"]
    outside = rest @ basis(leading, [rest]).vectors[:, rank:]
    lengths = torch.linalg.vector_norm(outside, dim=0)
    torch.testing.assert_close(outside.T @ outside, lengths.square().diag(), rtol=0, atol=DECOMPOSITION)
    assert (lengths.diff() < 0).all()


def test_several_other_maps_count_as_one_stacked():
    leading, rest, _ = SHAPES["grouped queries"]
    parts = basis(leading, [rest[:4], rest[4:]]).vectors
    torch.testing.assert_close(parts, basis(leading, [rest]).vectors, rtol=0, atol=DECOMPOSITION)


def test_signs_are_fixed_and_a_second_decomposition_is_the_same_in_every_bit():
    leading, rest, _ = SHAPES["grouped queries"]
    first, second = basis(leading, [rest]), basis(leading.clone(), [rest.clone()])
    assert torch.equal(first.vectors, second.vectors) and torch.equal(first.values, second.values)
    largest = first.vectors.gather(0, first.vectors.abs().argmax(dim=0)[None, :])
    assert (largest > 0).all()


def test_input_that_is_not_finite_never_gives_a_basis():
    broken = _random(8, 8)
    broken[2, 3] = float("nan")
    with pytest.raises((ArithmeticError, RuntimeError)):
        basis(broken, [_random(8, 8, 1)])


@pytest.mark.parametrize("rows", [9, 7, 3])
def test_with_orthogonal_columns_the_features_of_highest_score_leave_the_smallest_error(rows):
    """The reason for the transform: no subset of the same size does better, and the error is what the scores say."""
    weights = _random(rows, 7)
    rotated = weights @ basis(weights, [_random(9, 7, 1)]).vectors
    x = torch.randn(7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    score = x.abs() * torch.linalg.vector_norm(rotated, dim=0)
    for kept in range(8):
        errors = {
            subset: float(torch.linalg.vector_norm(rotated @ torch.where(_member(subset), 0, x)))
            for subset in combinations(range(7), kept)
        }
        chosen = tuple(sorted(score.argsort(descending=True, stable=True)[:kept].tolist()))
        assert errors[chosen] <= min(errors.values()) + DECOMPOSITION
        dropped = torch.tensor([i for i in range(7) if i not in chosen], dtype=torch.int64)
        assert errors[chosen] == pytest.approx(float(torch.linalg.vector_norm(score[dropped])), abs=DECOMPOSITION)


def test_without_the_transform_the_features_of_highest_score_can_be_the_wrong_ones():
    weights = torch.tensor([[1.0, -1.0, 0.5]])  # the first two cancel
    x = torch.ones(3)
    kept = scores(x, column_norms(weights)).argmax()
    errors = [float((weights @ torch.where(_member((i,), 3), 0, x)).abs()) for i in range(3)]
    assert errors[int(kept)] > min(errors)


def _member(subset, size=7):
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(subset)] = True
    return mask


def _logits(loaded):
    with torch.inference_mode():
        return loaded.model(input_ids=IDS).logits.float()


def _rms(x):
    return float(x.square().mean().sqrt())


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_transformed_model_is_the_dense_model_in_float32(kind):
    dense, rotated = _logits(uneven_model(kind)), _logits(rotated_model(kind))
    assert not torch.equal(rotated, dense)
    assert float((rotated - dense).abs().max()) <= FLOAT32 * _rms(dense)


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_transformed_model_is_as_good_as_the_dense_model_in_bfloat16(kind):
    exact = _logits(uneven_model(kind))
    dense, loaded = _logits(uneven_model(kind, torch.bfloat16)), rotated_model(kind, torch.bfloat16)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.bfloat16}
    assert _rms(_logits(loaded) - exact) <= AS_GOOD_AS_BFLOAT16 * _rms(dense - exact)


@pytest.mark.parametrize("kind", CONFIGS)
def test_columns_of_the_leading_maps_are_orthogonal_and_exactly_zero_in_their_null_space(kind):
    plain, rotated = (projections(build(kind).model) for build in (uneven_model, rotated_model))
    for before, after in zip(plain, rotated, strict=True):
        weight = after.module.weight.double()
        if after.name not in LEADING:
            continue
        norms = torch.linalg.vector_norm(weight, dim=0)
        rank = min(weight.shape)
        assert (norms[:rank] > 0).all() and not weight[:, rank:].any()
        unit = weight[:, :rank] / norms[:rank]
        cosines = (unit.T @ unit).fill_diagonal_(0).abs() * torch.minimum(norms[:rank], norms[:rank, None]) / norms[0]
        assert float(cosines.max()) <= FLOAT32_ANGLE
        assert before.module.weight.shape == weight.shape
    k = [projection for projection in rotated if projection.name == "k"]
    assert all((projection.module.weight == 0).all(dim=0).sum() == 16 for projection in k)  # 32 features, 16 rows


@pytest.mark.parametrize("kind", CONFIGS)
def test_norms_in_front_multiply_by_one_and_everything_else_is_untouched(kind):
    plain, rotated = (dict(build(kind).model.named_parameters()) for build in (uneven_model, rotated_model))
    family = uneven_model(kind).family
    in_front = [name for name in (family.attention_norm, family.mlp_norm) if name]
    maps = ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj")
    assert plain.keys() == rotated.keys()
    for name, parameter in rotated.items():
        if any(f".{norm}." in name for norm in in_front):
            assert (parameter + family.norm_offset == 1).all()
        elif not any(f".{linear}.weight" in name for linear in maps):
            assert torch.equal(parameter, plain[name]), name


@pytest.mark.parametrize("kind", CONFIGS)
def test_thresholds_of_zero_are_the_transformed_model_exactly_and_k_skips_its_null_space(kind):
    loaded = rotated_model(kind)
    dense = _logits(loaded)
    projs = projections(loaded.model)
    zeros = torch.zeros(1, BLOCKS, len(projs) // BLOCKS)
    with install(loaded, "wina", zeros) as runtime, runtime.rows(GROUPS, COUNTED) as counts:
        assert torch.equal(_logits(loaded), dense)
    for number, projection in enumerate(projs):
        if projection.name == "k":
            assert torch.equal(counts.kept[:, number], 16 * counts.tokens)


@pytest.mark.parametrize("kind", CONFIGS)
def test_capture_sees_the_rotated_input_and_half_of_ks_scores_are_zero(kind):
    loaded = rotated_model(kind)
    rows = torch.where(COUNTED, 0, -1)
    bins = Bins(4)
    with Observer(loaded, ["wina"], bins) as observer:
        with observer.batch(rows, rows), torch.inference_mode():
            loaded.decoder(input_ids=IDS, use_cache=False)
        observations = observer.take()
    for observation in observations:
        for projection, _, counts in observation.by_projection():
            assert counts[0].sum() == int(COUNTED.sum()) * observation.site.features
            if projection == "k":
                low, high = thresholds(bins, counts[0].astype(np.int64), np.array([0.4, 0.6]))
                assert low == 0 < high


@pytest.mark.parametrize("kind", CONFIGS)
def test_generate_writes_the_tokens_of_the_dense_model(kind):
    options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    dense, rotated = (
        build(kind).model.generate(IDS, attention_mask=torch.ones_like(IDS), **options)
        for build in (uneven_model, rotated_model)
    )
    assert torch.equal(rotated, dense)


def test_a_second_transform_of_the_same_model_is_the_same_in_every_bit():
    first, second = (rotated_model("llama").model.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_weights_that_are_not_finite_are_refused_with_their_place():
    loaded = uneven_model("llama")
    loaded.model.model.layers[1].self_attn.v_proj.weight[3, 4] = float("inf")
    block_bases(loaded, 0)
    with pytest.raises(UserError, match=r"finite to be transformed.*block 1, projection v.*check the checkpoint"):
        block_bases(loaded, 1)


def test_bases_of_other_weights_are_refused_before_anything_changes():
    loaded, other = uneven_model("llama"), uneven_model("mistral")
    other.model.model.layers[0].self_attn.k_proj.weight.mul_(1.01)
    before = _logits(loaded)
    with pytest.raises(UserError, match=r"those of the model.*block 0, projection k.*dvc repro --force"):
        rotate_block(loaded, 0, block_bases(other, 0))
    assert torch.equal(_logits(loaded), before)


def test_stored_float32_bases_do_as_well():
    loaded, bases = uneven_model("llama"), block_bases(uneven_model("llama"), 0)
    stored = {s: replace(one, vectors=one.vectors.float(), values=one.values.float()) for s, one in bases.items()}
    dense = _logits(loaded)
    rotate_block(loaded, 0, stored)
    assert float((_logits(loaded) - dense).abs().max()) <= FLOAT32 * _rms(dense)
