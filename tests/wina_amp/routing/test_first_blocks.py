"""`wina_amp.routing.first_blocks`: the signatures that capture takes, and no block behind them runs."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.capture.capture import capture
from pipeline.grouping.signature_vectors import signature_vectors
from tests.wina_amp.allocation.blocks import CONFIGS, random_model
from wina_amp.errors import UserError
from wina_amp.models.load import LoadedModel
from wina_amp.models.projections import projections
from wina_amp.routing.first_blocks import FirstBlocks
from wina_amp.tokens.samples import TokenizedSample

ROUNDING = 1e-5
"""Sums of at most 6 magnitudes in another order, in numbers of order 1."""
PROMPTS = [np.random.default_rng(number).integers(3, 64, size) for number, size in enumerate((8, 3, 6))]


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_prompts_features_are_the_signatures_of_capture(kind: str, blocks: int):
    loaded = random_model(kind)
    samples = [TokenizedSample(str(number), prompt.tolist(), []) for number, prompt in enumerate(PROMPTS)]
    settings = {"mantissa_bits": 2, "signature_dim": 4, "dense_prefix": 2, "seed": 7}
    (part,) = capture(loaded, [samples], histograms_of=(), criteria=["wina"], **settings)
    wanted = signature_vectors([part.signatures], ["0", "1", "2"], blocks).reshape(3, -1)
    signatures = FirstBlocks(loaded, blocks=blocks, dim=4, seed=7, dense_prefix=2)(PROMPTS)
    assert signatures.shape == (3, blocks * 4 * 4)
    assert np.abs(signatures - wanted).max() < ROUNDING


def test_blocks_behind_do_not_run_and_no_hook_stays(tiny_loaded: LoadedModel):
    last = projections(tiny_loaded.model)[-1].module
    runs: list[int] = []
    handle = last.register_forward_pre_hook(lambda *_: runs.append(1))
    FirstBlocks(tiny_loaded, blocks=1, dim=4, seed=0, dense_prefix=1)(PROMPTS)
    handle.remove()
    assert not runs
    assert not any(projection.module._forward_pre_hooks for projection in projections(tiny_loaded.model))


def test_a_prompt_that_stays_dense_as_a_whole_is_refused(tiny_loaded: LoadedModel):
    reader = FirstBlocks(tiny_loaded, blocks=1, dim=4, seed=0, dense_prefix=3)
    with pytest.raises(
        UserError, match=r"Found: 3 tokens, of which `dense_prefix: 3` keeps all dense\. Where: prompt 1"
    ):
        reader(PROMPTS)
