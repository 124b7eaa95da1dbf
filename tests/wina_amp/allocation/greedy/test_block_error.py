"""`wina_amp.allocation.greedy.block_error`: sharing work between choices changes no error, in any kind of block."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reference.greedy import block_error
from tests.wina_amp.allocation.blocks import BINS, CONFIGS, random_model, score_counts, texts
from tests.wina_amp.models.rotated import rotated_model
from wina_amp.allocation.calibration.texts import MEASURED_FRACTION, block_inputs
from wina_amp.allocation.greedy.block_error import BlockError
from wina_amp.errors import UserError
from wina_amp.histograms.thresholds import thresholds
from wina_amp.masks.cutoffs import cutoffs
from wina_amp.models.projections import projections
from wina_amp.scoring.criteria import feature_weights

SPARSITIES = 6
PREFIX = 1
ROUNDING = 2e-5
"""Relative. Float32 matrix products of up to 48 terms over differently shaped batches; errors are of order 1."""


class Setting:
    """A model, one of its blocks, and thresholds at SPARSITIES sparsities from 0 to 0.9."""

    def __init__(self, kind, block=1, is_rotated=False):
        self.loaded = rotated_model(kind) if is_rotated else random_model(kind)
        self.layer = self.loaded.layers[block]
        self.own = [p for p in projections(self.loaded.model) if p.block == block]
        counts = score_counts(self.loaded, "wina")
        grid = np.linspace(0, 0.9, SPARSITIES)
        self.limits = {p.name: torch.from_numpy(thresholds(BINS, counts[block, p.name], grid)) for p in self.own}
        self.weights = {p.name: feature_weights("wina", p.module.weight, p.name) for p in self.own}
        self.inputs = block_inputs(self.loaded, texts(), dense_prefix=PREFIX, budget=100)[block]

    def objective(self):
        tried = {name: cutoffs(self.weights[name], self.limits[name]) for name in self.limits}
        return BlockError(self.loaded, self.own, self.inputs, tried)

    def slow(self, taken):
        chosen = {p.name: self.limits[p.name][steps] for p, steps in zip(self.own, taken, strict=True)}
        return block_error(self.loaded, self.layer, self.own, self.weights, chosen, texts(), PREFIX, MEASURED_FRACTION)


@pytest.mark.parametrize("is_rotated", [False, True], ids=["plain", "rotated"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_errors_along_a_search_equal_those_of_the_whole_model_run_from_scratch(kind, is_rotated) -> None:
    setting = Setting(kind, is_rotated=is_rotated)
    rng = np.random.default_rng(0)
    taken = (0,) * len(setting.own)
    with setting.objective() as objective:
        for _ in range(6):
            choices = [
                (*taken[:p], taken[p] + 1, *taken[p + 1 :]) for p in range(len(taken)) if taken[p] + 1 < SPARSITIES
            ]
            errors = objective.errors(choices)
            checked = int(rng.integers(len(choices)))
            assert errors[checked] == pytest.approx(setting.slow(choices[checked]), rel=ROUNDING)
            taken = choices[int(rng.integers(len(choices)))]


def test_unrelated_choices_in_a_row_do_not_confuse_what_is_kept() -> None:
    setting = Setting("llama", block=0)
    rng = np.random.default_rng(1)
    with setting.objective() as objective:
        for _ in range(5):
            taken = tuple(rng.integers(0, SPARSITIES, len(setting.own)).tolist())
            assert objective.errors([taken]) == pytest.approx([setting.slow(taken)], rel=ROUNDING)


def test_the_model_is_as_before_also_after_an_error() -> None:
    setting = Setting("llama")
    ids = torch.tensor([[1, 5, 9, 7]])
    before = setting.loaded.model(input_ids=ids).logits
    with pytest.raises(RuntimeError, match="on purpose"), setting.objective():
        raise RuntimeError("on purpose")
    assert torch.equal(setting.loaded.model(input_ids=ids).logits, before)
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in setting.loaded.model.modules())


def test_a_block_of_another_structure_is_refused(monkeypatch) -> None:
    setting = Setting("llama")
    original = setting.layer.forward
    monkeypatch.setattr(setting.layer, "forward", lambda *args, **kwargs: 1.5 * original(*args, **kwargs))
    setting.inputs = block_inputs(setting.loaded, texts(), dense_prefix=PREFIX, budget=100)[1]
    with (
        pytest.raises(UserError, match=r"differs from the model's own by 0\.33.*LlamaDecoderLayer"),
        setting.objective(),
    ):
        pass
    assert not any(module._forward_pre_hooks for module in setting.layer.modules())
